"""The plan of a sweep for its driver, what it begins with, and its result; without torch or Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gensweep.causes import file_problem
from gensweep.config.objectives import Constraint, Objective
from gensweep.config.ranges import Node, point_of
from gensweep.config.sweep_config import Resources, Search
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import expanded
from gensweep.results import Unit
from gensweep.sweep.checkpoints import checkpoint_name, checkpoint_place, store
from gensweep.sweep.events import Created, WarmStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState

#: Trials that are queued from a sweep at most.
MOST_QUEUED = 5


@dataclass(frozen=True)
class InitialCheckpoint:
    """A checkpoint after `images` of a `run`, in a folder; `evaluations` are that training's until there, if known."""

    run: str
    images: int
    folder: str
    evaluations: Sequence[Mapping[str, Any]] = ()

    def stored(self, root: str, trial: str) -> dict[str, Any]:
        """Copy the checkpoint to a trial's own below the root of the storage; returns it for the log.

        Raises GensweepError if it cannot be copied.
        """
        name, folder = checkpoint_name(trial, self.images), Path(self.folder)
        if not folder.is_dir():
            raise GensweepError(f"the checkpoint {folder} of {self.run} is gone; start a new sweep from another one")
        try:
            store(folder, checkpoint_place(root, name))
        except OSError as error:
            why = file_problem(error) or error
            raise GensweepError(f"the checkpoint {folder} cannot be copied to {root}: {why}") from error
        return {"run": self.run, "images": self.images, "checkpoint": name}


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, resolved: each part is a plain value or a function."""

    name: str
    objective: Objective
    search: Search
    budget: float
    """Cost of a full trial, in `unit`."""
    job: Callable[..., None]
    """Runs in the workers: (configuration, WorkerContext, Reporter).  See gensweep.training.reporter."""
    sample: Callable[[Any], dict[str, Any]]
    """Optuna trial -> overrides, flat, with dotted keys."""
    configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Overrides -> the effective configuration as plain values."""
    further: tuple[Objective, ...] = ()
    """Objectives beside the first one."""
    constraints: tuple[Constraint, ...] = ()
    known: Callable[[Mapping[str, Any]], Mapping[str, float]] = lambda config: {}
    """An effective configuration -> its costs that have a limit and are known beforehand."""
    nodes: tuple[Node, ...] = ()
    """The search space of `sample`."""
    queue: tuple[Mapping[str, Any], ...] = ()
    """Parameters of the first trials, by their names in the study; the others are sampled."""
    warm_starts: tuple[WarmStarted, ...] = ()
    """The best settings of other sweeps."""
    unit: Unit = "images"
    equal: bool = False
    """True if all trials have this budget, not the images of their configurations."""
    grace: float = 1
    """Cost of the first rung."""
    resources: Resources = field(default_factory=Resources)
    settings: dict[str, Any] = field(default_factory=lambda: {"sweep": {}})
    """Content of sweep.json."""
    keep_best: int = 1
    """Trials whose best checkpoint is kept."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Provenance: command, versions, commit."""
    relative_paths: tuple[str, ...] = ()
    """Relative paths of the configuration, as "key: path"."""

    def created(self, sweep_id: str, start: Mapping[str, Any] | None) -> Created:
        """The event that begins the sweep's log."""
        search = self.search.budget
        return Created(
            sweep_id,
            self.name,
            self.objective.metric,
            self.objective.mode,
            self.search.most_trials,
            self.keep_best,
            self.unit,
            self.budget if self.equal else None,
            "device_seconds" if search is None else search.unit,
            None if search is None else search.amount,
            further=[each.model_dump() for each in self.further],
            constraints=[each.model_dump() for each in self.constraints],
            start=start,
        )


@dataclass(frozen=True)
class SweepResult:
    """The result of a sweep."""

    folder: Path
    state: SweepState
    stored_at: str | None = None
    """The storage, for another machine."""

    @property
    def exit_code(self) -> int:
        """0 done, 1 the sweep could not go on, 3 some trials failed, 130 interrupted."""
        if self.state.status == "finished":
            return 3 if self.state.failed else 0
        return 130 if self.state.status == "interrupted" else 1


def warm_starts(plan: SweepPlan, root: Path) -> tuple[WarmStarted, ...]:
    """The best settings of the sweeps that `search.warm_start` names, by name in `root` or by folder.

    Their scores may have another metric, data set or length, so only the order counts.  Raises ConfigError, one line
    each, for sweeps that are missing, have no score or no trial in this space.  Source: Feurer et al. 2015,
    "Initializing Bayesian Hyperparameter Optimization via Meta-Learning".
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
    scored = folder.state().ranking
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
