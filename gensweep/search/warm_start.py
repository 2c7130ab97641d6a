"""Settings of earlier sweeps that a new sweep starts with.

Scores of other sweeps may have another metric, data set or length, so only the order counts: the settings of the best
come first (Feurer et al. 2015, "Initializing Bayesian Hyperparameter Optimization via Meta-Learning").
"""

from __future__ import annotations

from pathlib import Path

from gensweep.config.ranges import point_of
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.files import expanded
from gensweep.search.sweep_plan import SweepPlan
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.folder import SweepFolder

#: Trials that are queued from a sweep at most.
MOST_QUEUED = 5


def warm_starts(plan: SweepPlan, root: Path) -> tuple[WarmStarted, ...]:
    """The best settings of the sweeps that `search.warm_start` names, by name in `root` or by folder.

    Raises ConfigError, one line each, for sweeps that are missing, have no score or no trial in this space.
    """
    found, problems, names = [], list[str](), plan.search.warm_start
    for name in names:
        path = (expanded(name) if "/" in name else root / name).absolute()
        try:
            found.append(_warm_start(plan, path, min(MOST_QUEUED, plan.search.most_trials // (2 * len(names)))))
        except ConfigError as error:
            problems += [f"search.warm_start: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def warm_start_words(known: WarmStarted) -> str:
    """One line on what is taken from a sweep."""
    words = f"the settings of {len(known.queue)} of its best come first"
    if not known.queue:
        words = "nothing, as half of search.trials at most come from other sweeps"
    return f"warm start from {Path(known.source).name}: {words}"


def _warm_start(plan: SweepPlan, path: Path, most: int) -> WarmStarted:
    folder = SweepFolder(path.parent, path.name)
    folder.check_name(resume=True)
    scored = [trial for trial in folder.state().ranking if trial.repeat_of is None]
    if not scored:
        raise ConfigError(f"no trial of {path.name} has a score yet; wait for it, or leave it out")
    points = [point_of(plan.nodes, dict(flatten(trial.at_best.config))) for trial in scored]
    inside = [point.params for point in points if not (point.problems or point.missing)]
    if not inside:
        why = ": ".join(points[0].problems[0]) if points[0].problems else f"{points[0].missing[0]} is not set there"
        raise ConfigError(
            f"no trial of {path.name} lies in this space ({scored[0].trial}: {why}); leave it out, or search what it "
            "searched"
        )
    return WarmStarted(str(path), inside[:most])
