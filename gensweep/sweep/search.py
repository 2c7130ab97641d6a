"""The search: the session says what to run, which Optuna has suggested; a scheduler of Tune says when to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from gensweep.results import Evaluation
from gensweep.sweep.session import Session

__all__ = ["Asha", "SessionSearch", "make_scheduler"]

#: The key under which Tune's schedulers would look for the best score so far.
OBJECTIVE = "objective"


class SessionSearch(Searcher):
    """Tune's searcher: interrupted trials of earlier sessions first, from their checkpoints, then new ones."""

    def __init__(self, session: Session) -> None:
        super().__init__(metric=OBJECTIVE, mode=session.state.mode)
        self._session = session

    def suggest(self, trial_id: str) -> Any:
        """The next trial, or Tune's word for "no more"."""
        return self._session.next_trial(trial_id) or Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended by itself or the scheduler stopped it; of an error more is known later, in the callback."""
        if not error:
            self._session.ended(trial_id, result or {})

    def save(self, checkpoint_path: str) -> None:
        """Leave word in Tune's folder where the state of the search is."""
        Path(checkpoint_path).write_text("see events.jsonl in the sweep's folder\n")

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune writes its tuner to disk; gensweep never reads that back.
        return (dict, ())


class Asha(AsyncHyperBandScheduler):
    """ASHA on images seen, which can be told what earlier sessions saw.  Source: Li et al. 2020.

    `objective` says what a trial's best score is after a report.
    """

    def __init__(
        self,
        objective: Callable[[str, Evaluation], float | None],
        *,
        mode: str,
        budget: int,
        grace: int,
        reduction: float,
        brackets: int = 1,
    ) -> None:
        self._objective = objective
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
        report = result.get("report")
        value = self._objective(trial.trial_id, report) if isinstance(report, Evaluation) else None
        if value is None:
            return str(TrialScheduler.CONTINUE)
        if result["images"] >= self._max_t:
            return str(TrialScheduler.STOP)
        bracket = self._trial_info[trial.trial_id]
        return str(bracket.on_result(_named(trial.config["trial"]), result["images"], self._sign * value))

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
    kind: str, session: Session, *, budget: int, grace: int | None = None, reduction: float = 3
) -> TrialScheduler:
    """`asha` with rungs grace, grace * reduction, ... images, or `fifo`, which never stops a trial."""
    if kind == "fifo":
        fifo: TrialScheduler = FIFOScheduler()  # type: ignore[no-untyped-call]
        return fifo
    asha = Asha(
        session.objective,
        mode=session.state.mode,
        budget=budget,
        grace=grace or max(1, budget // int(reduction**2)),
        reduction=reduction,
    )
    for trial in session.state.trials.values():
        asha.replay(trial.trial, trial.rungs)
    return asha
