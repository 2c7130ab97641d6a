"""What a new sweep knows beforehand: the trials of earlier sweeps.

A trial that the new sweep would train no differently has a score that counts there, so the sampler learns from it.  Of
all others, with another metric, data set or length of training, only the order counts: the settings of the best come
first (Feurer et al. 2015, "Initializing Bayesian Hyperparameter Optimization via Meta-Learning"), so what was good
elsewhere costs a few trainings if it is not good here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from optuna.trial import FixedTrial

from gensweep.config import TrialConfig
from gensweep.config.points import Point, point_of
from gensweep.config.search_methods import GaussianProcess, Tpe
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.files import expanded
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.sweep_plan import SweepPlan
from gensweep.sweep.trial_state import TrialState

#: So many trials are taken from the best of a sweep whose scores do not count here, if half of all trials is no less.
MOST_QUEUED = 5


class EarlierSweep(NamedTuple):
    """Another sweep: its folder, its metric, and those of its scored trials that lie in the new space, the best first.

    Each trial comes with its parameters in that space.
    """

    path: Path
    metric: str
    trials: Sequence[tuple[TrialState, Mapping[str, Any]]]


def earlier_sweeps(plan: SweepPlan, root: Path) -> list[EarlierSweep]:
    """Read the sweeps that `search.warm_start` names, by name in `root` or by folder.

    Raises ConfigError, one line each, for a sweep that is not there, has no scores, or has no trial in this space.
    """
    found, problems = [], list[str]()
    for name in plan.search.warm_start:
        path = (expanded(name) if "/" in name else root / name).absolute()
        try:
            found.append(_earlier_sweep(plan, path))
        except ConfigError as error:
            problems += [f"search.warm_start: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return found


def is_prepared(state: SweepState, plan: SweepPlan) -> bool:
    """Whether all is on record that a search knows before its first trial; a start may have ended before it was."""
    known = len(state.sources) >= len(plan.search.warm_start)
    return state.created is not None and (known or bool(state.searched))


def warm_starts(plan: SweepPlan, earlier: Sequence[EarlierSweep]) -> tuple[WarmStarted, ...]:
    """What a sweep is to know of each earlier one."""
    return tuple(_warm_start(plan, each, len(earlier)) for each in earlier)


def warm_start_words(known: WarmStarted) -> str:
    """What is taken from a sweep, in a line."""
    taken = [f"the scores of {len(known.known)} trials are known"] if known.known else []
    taken += [f"the settings of {len(known.queue)} of its best come first"] if known.queue else []
    words = ", and ".join(taken) or "nothing, as half of search.trials at most come from other sweeps"
    return f"warm start from {Path(known.source).name}: {words}"


def known_trial(trial: TrialState, params: Mapping[str, Any]) -> dict[str, Any]:
    """A trial of another sweep whose score counts, with its parameters in the new space, as `WarmStarted` has it."""
    rungs = [list(rung) for rung in trial.rungs]
    return {"trial": trial.trial, "params": params, "finished": trial.status == "finished", "rungs": rungs}


def _earlier_sweep(plan: SweepPlan, path: Path) -> EarlierSweep:
    folder = SweepFolder(path.parent, path.name)
    folder.check_name(resume=True)
    state = folder.state()
    scored = [trial for trial in state.ranking if trial.repeat_of is None]
    if not scored:
        raise ConfigError(f"no trial of {path.name} has a score yet; wait for it, or leave it out")
    points = [(trial, point_of(plan.nodes, dict(flatten(trial.config)))) for trial in scored]
    inside = [(trial, point.params) for trial, point in points if not (point.problems or point.missing)]
    if not inside:
        raise ConfigError(
            f"no trial of {path.name} lies in this space ({scored[0].trial}: {_why_outside(points[0][1])}); leave it "
            "out, or search what it searched"
        )
    return EarlierSweep(path, state.metric, inside)


def _warm_start(plan: SweepPlan, earlier: EarlierSweep, sweeps: int) -> WarmStarted:
    """What is to be known of one of several sweeps, which share the places of the first trials."""
    learns = isinstance(plan.search.sampler, Tpe | GaussianProcess) and earlier.metric == plan.objective.metric
    learns = learns and not (plan.further or plan.constraints)  # of which the other sweep's scores say nothing
    known, queue = list[dict[str, Any]](), list[Mapping[str, Any]]()
    for trial, params in earlier.trials:
        if learns and _is_same_training(plan, trial, params):
            known.append(known_trial(trial, params))
        else:
            queue.append(params)
    share = plan.search.most_trials // (2 * sweeps)
    return WarmStarted(str(earlier.path), known, queue[: min(MOST_QUEUED, share)])


def _why_outside(point: Point) -> str:
    if point.problems:
        key, problem = point.problems[0]
        return f"{key}: {problem}"
    return f"{point.missing[0]} is not set there"


def _is_same_training(plan: SweepPlan, trial: TrialState, params: Mapping[str, Any]) -> bool:
    """Whether this sweep would train a trial with these parameters just as the other one did."""
    if trial.lineage or trial.status not in ("finished", "pruned", "paused"):
        return False
    try:
        mine = plan.configure(plan.sample(FixedTrial(dict(params))))
        theirs = TrialConfig.from_dict(trial.config).as_dict()
    except ConfigError:
        return False
    values, others = dict(flatten(mine)), dict(flatten(theirs))
    return values.keys() == others.keys() and all(_alike(value, others[key]) for key, value in values.items())


def _alike(value: Any, other: Any) -> bool:
    """Whether two settings are the same; a number that went through the scale of a prior is not so to the last bit."""
    if isinstance(value, float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=1e-9)
    return bool(value == other)
