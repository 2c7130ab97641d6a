"""Optuna's study of a sweep: a view of its state, made anew wherever the two do not agree."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from alembic.util import CommandError
from optuna.exceptions import OptunaError
from optuna.trial import FixedTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from gensweep.causes import UNAVAILABLE, database_problem, primary_code
from gensweep.config.search_methods import CmaEs, GaussianProcess, GridSearch, Nsga2, Tpe
from gensweep.config.sweep_config import Search
from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep.continuation import going_on_command
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

_log = logging.getLogger(__name__)

Sample: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""Asks an Optuna trial for the parameters of the space."""

#: Seconds to wait for another process that has the database.
LOCK_TIMEOUT = 60.0

#: What SQLAlchemy, Alembic and Optuna raise for a file with damaged content, or of another version of Optuna.
DAMAGE = (SQLAlchemyError, OptunaError, CommandError, AssertionError, LookupError, RuntimeError, ValueError)


def open_study(file: Path, state: SweepState, search: Search, sample: Sample) -> optuna.Study:
    """The study in a file, which holds exactly the trials of the state: first those of other sweeps that it knows.

    A file that is missing, damaged or of another state is written anew.  Raises GensweepError if it is locked or cannot
    be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    expected = list(_expected(state, sample))
    load = partial(_load, file, state, make_sampler(search, len(expected)))
    with available(file):
        try:
            study = load()
            if _contents(study.get_trials(deepcopy=False)) == _contents(expected):
                return study
        except DAMAGE as error:
            if database_problem(error) is not None:
                raise
            _log.info("%s is damaged and written anew: %s", file, error)
        for name in (file.name, f"{file.name}-journal", f"{file.name}-wal", f"{file.name}-shm"):
            file.with_name(name).unlink(missing_ok=True)
        study = load()
        study.add_trials(expected)
        return study


@contextlib.contextmanager
def available(file: Path) -> Iterator[None]:
    """Raises GensweepError if what is done inside fails because the database cannot be used now."""
    try:
        yield
    except Exception as error:
        cause = database_problem(error)
        if cause is None:
            raise
        raise GensweepError(
            f"{file} cannot be used ({cause}); {UNAVAILABLE[primary_code(cause)]}, then go on with: "
            f"{going_on_command('resume', file.parent)}"
        ) from error


def tell(study: optuna.Study, trial: TrialState, known: int) -> None:
    """Tell the study, which begins with `known` trials of other sweeps, the newest score of a trial, or its end."""
    number = known + trial.number
    state, values = _outcome(trial)
    frozen = study.get_trials(deepcopy=False)[number]
    if frozen.state.is_finished():
        return
    told = optuna.trial.Trial(study, frozen._trial_id)
    for name, attribute in _attributes(study.study_name, trial).items():
        if frozen.user_attrs.get(name) != attribute:
            told.set_user_attr(name, attribute)
    for metric, excess in trial.excesses.items() if trial.ended else ():
        told.set_constraint(metric, excess)
    if state == OptunaState.COMPLETE:
        study.tell(number, values)
    elif trial.ended:  # Optuna takes the last intermediate value of a pruned trial
        study.tell(number, state=state)
    else:
        for images, score in _rungs(trial).items():
            if images not in frozen.intermediate_values:
                told.report(score, images)


def sampler_state(study: optuna.Study, trial: optuna.Trial) -> dict[str, int]:
    """What the sampler has noted of a trial, such as its generation, that a study which is made anew must have.

    Only whole numbers: CMA-ES notes its distribution as pickled code, which goes into no log; in a study that is made
    anew it begins again.
    """
    noted = study._storage.get_trial(trial._trial_id).system_attrs
    return {name: value for name, value in noted.items() if isinstance(value, int)}


def make_sampler(search: Search, trials_so_far: int) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of a search; TPE is set up for nested, parallel spaces.

    A session that goes on must not repeat the random draws of the one before, so the seed depends on how many trials
    there are.  Source of TPE's flags: Optuna's documentation of TPESampler on conditional and distributed search.
    """
    seed = (search.seed * 1_000_003 + trials_so_far) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case Tpe() as tpe:
                settings = tpe.model_dump(exclude={"kind", "startup_trials"})
                return optuna.samplers.TPESampler(seed=seed, n_startup_trials=tpe.startup_trials, **settings)
            case GridSearch():
                return Grid(seed=seed)
            case GaussianProcess(startup_trials=startup):
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
            case CmaEs(startup_trials=startup):
                return optuna.samplers.CmaEsSampler(
                    seed=seed, n_startup_trials=startup, warn_independent_sampling=False
                )
            case Nsga2(population=population):
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
        return optuna.samplers.RandomSampler(seed=seed)


class Grid(optuna.samplers.BruteForceSampler):
    """Every combination of a finite, possibly nested space once, in random order."""

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: OptunaState, values: Sequence[float] | None
    ) -> None:
        """Leave the study running: the original stops one that Optuna runs itself, which this is not."""
        optuna.samplers.BaseSampler.after_trial(self, study, trial, state, values)


def _load(file: Path, state: SweepState, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    # A connection by path and not by URL, in which '?' and '%' of a folder's name would mean something else.
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=LOCK_TIMEOUT, check_same_thread=False)

    study = optuna.create_study(
        storage=optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool}),
        study_name=_study_name(state),
        sampler=sampler,
        directions=["minimize" if each.mode == "min" else "maximize" for each in state.objectives],
        load_if_exists=True,
    )
    names = [each.metric for each in state.objectives]
    if study.metric_names != names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(names)
    return study


def _study_name(state: SweepState) -> str:
    return "" if state.created is None else state.created.name


def _attributes(study: str, trial: TrialState) -> dict[str, Any]:
    """What the dashboard shows of a trial besides: the run's name, and what it cost until its best checkpoint."""
    if trial.best is None:
        return {}
    costs = trial.cost.as_dict()
    return {"run": f"{study}/{trial.trial}", **{f"cost/{key}": value for key, value in costs.items()}}


def _outcome(trial: TrialState) -> tuple[OptunaState, list[float] | None]:
    """How Optuna calls what became of a trial, and the values that it has there."""
    match trial.status:
        case "finished" if None not in trial.values.values():
            return OptunaState.COMPLETE, [value for value in trial.values.values() if value is not None]
        case "pruned" if trial.rungs:
            return OptunaState.PRUNED, list(trial.curve.values())[-1:]
        case "infeasible":  # which samplers that know of limits learn from
            return OptunaState.PRUNED, None
        case "finished" | "pruned" | "failed":
            return OptunaState.FAIL, None
    return OptunaState.RUNNING, None


def _rungs(trial: TrialState) -> dict[int, float]:
    """What Optuna hears of a trial on its way, which is nothing where there are several objectives."""
    return trial.curve if len(trial.objectives) == 1 else {}


def _expected(state: SweepState, sample: Sample) -> Iterator[FrozenTrial]:
    """The trials that a study of this state holds."""
    for number, known in enumerate(state.known):
        ended = OptunaState.COMPLETE if known["finished"] else OptunaState.PRUNED
        rungs = dict(known["rungs"])
        yield _frozen(number, known["params"], sample, state=ended, values=[known["rungs"][-1][1]], rungs=rungs)
    for trial in state.searched:
        ended, values = _outcome(trial)
        found: dict[str, Any] = {"rungs": _rungs(trial), "system_attrs": dict(trial.sampler_state)}
        found["user_attrs"] = _attributes(_study_name(state), trial)
        found["constraints"] = trial.excesses if trial.ended else {}
        yield _frozen(len(state.known) + trial.number, trial.suggested, sample, state=ended, values=values, **found)


def _frozen(
    number: int, suggested: Mapping[str, Any], sample: Sample, *, rungs: dict[int, float], **values: Any
) -> FrozenTrial:
    replayed = FixedTrial(dict(suggested), number)
    with contextlib.suppress(ConfigError, ValueError):  # a trial whose parameters were not valid stopped half-way, too
        sample(replayed)
    frozen = optuna.trial.create_trial(
        params=replayed.params, distributions=replayed.distributions, intermediate_values=rungs, **values
    )
    frozen.number = number
    return frozen


def _contents(trials: Sequence[FrozenTrial]) -> list[tuple[Any, ...]]:
    """All that a view of the log must have right."""
    return [
        (t.number, t.state, t.params, t.distributions, t.intermediate_values, t.values, t.constraints, t.user_attrs)
        for t in trials
    ]
