"""Which settings mattered in a sweep, as Optuna estimates it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gensweep.errors import GensweepError
from gensweep.results import ranking
from gensweep.tracking.records import sweep_folder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from gensweep.tracking.records import SweepRecord

logger = logging.getLogger(__name__)

#: Fewer scores say nothing about a forest of trees.
MIN_SCORES = 4


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
            return _evaluate(_study_of_log(sweep)) or _evaluate(_study_of_runs(sweep))
    finally:
        optuna.logging.set_verbosity(level)


def _study_of_log(sweep: SweepRecord) -> Study | None:
    from gensweep.sweep.planning import recall_sweep
    from gensweep.sweep.space import SearchSpace
    from gensweep.sweep.study import memory_study

    folder = sweep_folder(sweep)
    try:
        return None if folder is None else memory_study(folder.state(), SearchSpace.of(recall_sweep(folder)).suggest)
    except GensweepError as error:
        logger.warning("importance of %s is computed from the runs (%s)", sweep.name, error)
        return None


def _study_of_runs(sweep: SweepRecord) -> Study:
    import optuna
    from optuna.distributions import CategoricalDistribution

    trials = ranking(sweep.trials)
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for key, value in trial.params.items():
            values.setdefault(key, []).append(value)
    space = {key: _distribution(found) for key, found in values.items() if len(set(map(repr, found))) > 1}
    study = optuna.create_study()
    for trial in trials:
        params = {key: value for key, value in trial.params.items() if key in space}
        for key, value in params.items():
            params[key] = str(value) if isinstance(space[key], CategoricalDistribution) else value
        order = None if trial.objective is None else trial.objective.order
        distributions = {key: space[key] for key in params}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=order))
    return study


def _distribution(values: Sequence[Any]) -> BaseDistribution:
    """One that could have given these values."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return CategoricalDistribution(list(dict.fromkeys(map(str, values))))
    if all(isinstance(value, int) for value in values):
        return IntDistribution(min(values), max(values))
    return FloatDistribution(float(min(values)), float(max(values)))


def _evaluate(study: Study | None) -> dict[str, float]:
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    complete = [] if study is None else study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if study is None or len(complete) < MIN_SCORES or len({trial.value for trial in complete}) < 2:
        return {}
    try:
        return get_param_importances(study)
    except (ValueError, RuntimeError) as error:
        logger.warning("The importance of the parameters of %s cannot be told: %s", study.study_name, error)
        return {}
