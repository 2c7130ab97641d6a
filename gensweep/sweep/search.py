"""The search: Optuna asks, Tune schedules.

Optuna's study lives in the sweep's folder and is written by the driver only.  Trials of an earlier session that were
interrupted come first, from their checkpoints; then the study is asked for new ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import optuna
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from gensweep.sweep.trainable import OBJECTIVE

if TYPE_CHECKING:
    from gensweep.sweep.ledger import Ledger

__all__ = ["Asha", "StudySearch", "make_sampler", "make_scheduler", "make_study"]


TPE = {"multivariate": True, "group": True, "constant_liar": True}
"""What suits nested spaces and parallel trials."""


def make_study(url: str, name: str, mode: Literal["min", "max"], sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """Open or create the study of a sweep."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    return optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=sampler,
        direction="minimize" if mode == "min" else "maximize",
        load_if_exists=True,
    )


def make_sampler(kind: str, seed: int, trials_so_far: int, settings: Mapping[str, Any]) -> optuna.samplers.BaseSampler:
    """TPE for nested, parallel spaces, random draws, or a grid: every combination once, of ranges with steps.

    A session that goes on must not repeat the random draws of the one before, so the seed depends on how many trials
    there are.  Source of the flags: Optuna's documentation of TPESampler on conditional and distributed search.
    """
    seed = (seed * 1_000_003 + trials_so_far) % 2**32
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if kind == "grid":
            return Grid(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, **{**TPE, **settings})


class Grid(optuna.samplers.BruteForceSampler):
    """Every combination of a finite, possibly nested space once, in random order."""

    def after_trial(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the sampler would stop a study that Optuna runs itself, which this is not."""


class StudySearch(OptunaSearch):
    """OptunaSearch whose trials are the ledger's: numbered, resumable, and told how they really ended.

    The ledger tells Optuna what comes of a trial (see there); Tune's own way would tell a pruned trial as COMPLETE.
    """

    def __init__(
        self, ledger: Ledger, study: optuna.Study, sampler: optuna.samplers.BaseSampler, mode: Literal["min", "max"]
    ) -> None:
        super().__init__(
            space=_asked_by_the_ledger,
            metric=OBJECTIVE,
            mode=mode,
            sampler=sampler,
            study_name=study.study_name,
            storage=study._storage,
        )
        self._ledger = ledger

    def suggest(self, trial_id: str) -> Any:
        """The next trial, or Tune's word for "no more"."""
        return self._ledger.next_trial(trial_id) or Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing; the ledger hears it from Tune's callback."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing; the ledger hears it from Tune's callback."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing; the study is on disk and the ledger, too."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing; a new session builds a new search on the old study."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing, as above."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune writes its tuner to disk; gensweep never reads that back.
        return (dict, ())


def _asked_by_the_ledger(trial: optuna.Trial) -> None:
    """Tell OptunaSearch that the space is define-by-run; `suggest` never calls this."""


class Asha(AsyncHyperBandScheduler):
    """ASHA on images seen, which can be told what earlier sessions saw.  Source: Li et al. 2020."""

    def __init__(self, *, mode: str, budget: int, grace: int, reduction: float, brackets: int = 1) -> None:
        self._sign = 1.0 if mode == "max" else -1.0
        super().__init__(
            time_attr="images",
            metric=OBJECTIVE,
            mode=mode,
            max_t=budget,
            grace_period=min(grace, budget),
            reduction_factor=reduction,
            brackets=brackets,
        )

    def replay(self, trial: str, rungs: Iterable[tuple[int, float]]) -> None:
        """Enter a trial of an earlier session into the rungs, as if it had been seen here."""
        for images, value in rungs:
            self._brackets[0].on_result(_named(trial), images, self._sign * value)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Under the trial's own name, which it keeps over sessions."""
        if OBJECTIVE not in result:
            return str(TrialScheduler.CONTINUE)
        if result["images"] >= self._max_t:
            return str(TrialScheduler.STOP)
        value = self._sign * result[OBJECTIVE]
        return str(self._trial_info[trial.trial_id].on_result(_named(trial.config["trial"]), result["images"], value))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Its results are in the rungs already."""
        self._trial_info.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forget a trial that never ran."""
        self._trial_info.pop(trial.trial_id, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return (dict, ())


def _named(trial: str) -> Any:
    """All that a bracket wants of a trial: a name."""
    return SimpleNamespace(trial_id=trial)


def make_scheduler(
    kind: str, *, mode: str, budget: int, grace: int | None = None, reduction: float = 3
) -> TrialScheduler:
    """`asha` with rungs grace, grace * reduction, ... images, or `fifo`, which never stops a trial."""
    if kind == "fifo":
        scheduler: TrialScheduler = FIFOScheduler()  # type: ignore[no-untyped-call]
        return scheduler
    return Asha(mode=mode, budget=budget, grace=grace or max(1, budget // int(reduction**2)), reduction=reduction)
