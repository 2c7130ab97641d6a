"""Which settings mattered in a sweep, as Optuna judges it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gensweep.errors import GensweepError
from gensweep.results import ranking

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from gensweep.tracking.records import SweepRecord, TrialRecord

__all__ = ["parameter_importance"]

logger = logging.getLogger(__name__)

# Fewer results say nothing about a forest of trees.
_FEWEST = 4


def parameter_importance(sweep: SweepRecord) -> dict[str, float]:
    """Parameter -> share of the objective's variance that it explains, largest first; empty if it cannot be told.

    Uses the sweep's own study if its log is on this machine and has enough completed trials, else a study made from the
    runs, in which pruned trials count with their last best score.
    """
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for study in (_of_log(sweep), _of_runs(sweep)):
                if study is not None and (found := _evaluate(study)):
                    return found
    finally:
        optuna.logging.set_verbosity(level)
    return {}


def _of_log(sweep: SweepRecord) -> Study | None:
    from gensweep.sweep.planning import recall_sweep
    from gensweep.sweep.space import SearchSpace
    from gensweep.sweep.study import memory_study
    from gensweep.tracking.records import sweep_folder

    folder = sweep_folder(sweep)
    if folder is None:
        return None
    try:
        return memory_study(folder.state(), SearchSpace.of(recall_sweep(folder)).suggest)
    except GensweepError as error:
        logger.warning("importance of %s is computed from the runs (%s)", sweep.name, error)
        return None


def _of_runs(sweep: SweepRecord) -> Study | None:
    import optuna
    from optuna.distributions import CategoricalDistribution

    trials = ranking(sweep.trials)
    space = _space(trials)
    if len(trials) < _FEWEST or not space:
        return None
    study = optuna.create_study(direction="minimize" if sweep.mode == "min" else "maximize")
    for trial in trials:
        if trial.objective is None:
            continue
        params = {key: _plain(value) for key, value in trial.params.items() if key in space}
        distributions = {key: space[key] for key in params}
        for key, distribution in distributions.items():
            params[key] = str(params[key]) if isinstance(distribution, CategoricalDistribution) else params[key]
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=trial.objective.value))
    return study


def _space(trials: list[TrialRecord]) -> dict[str, BaseDistribution]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {}
    for key in dict.fromkeys(key for trial in trials for key in trial.params):
        values = [_plain(trial.params[key]) for trial in trials if key in trial.params]
        if len(set(map(repr, values))) < 2:
            continue
        if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            space[key] = IntDistribution(min(values), max(values))
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            space[key] = FloatDistribution(float(min(values)), float(max(values)))
        else:
            space[key] = CategoricalDistribution(list(dict.fromkeys(map(str, values))))
    return space


def _evaluate(study: Study) -> dict[str, float]:
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    try:
        found: Mapping[str, float] = get_param_importances(study)
    except (ValueError, RuntimeError) as error:
        logger.warning("The importance of the parameters of %s cannot be told: %s", study.study_name, error)
        return {}
    return {key: float(value) for key, value in found.items()}


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
