"""The plan of a sweep for its driver, its start, and its result; without torch or Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from gensweep.sweep.events import Created, Suggested, WarmStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState

#: Most trials queued from another sweep.
MOST_QUEUED = 5


@dataclass(frozen=True)
class InitialCheckpoint:
    """A checkpoint of a `run` after `images`, in a folder; `evaluations` are that training's earlier ones, if known."""

    run: str
    images: int
    folder: str
    evaluations: Sequence[Mapping[str, Any]] = ()

    def stored(self, root: str, trial: str) -> dict[str, Any]:
        """Copy the checkpoint to the storage; returns it for the log.  Raises GensweepError if that fails."""
        name, folder = checkpoint_name(trial, self.images), Path(self.folder)
        if not folder.is_dir():
            raise GensweepError(f"the checkpoint {folder} of {self.run} is missing; start from another checkpoint")
        try:
            store(folder, checkpoint_place(root, name))
        except OSError as error:
            why = file_problem(error) or error
            raise GensweepError(f"the checkpoint {folder} cannot be copied to {root}: {why}") from error
        return {"run": self.run, "images": self.images, "checkpoint": name}

    def amend(self, plan: SweepPlan) -> SweepPlan:
        """The plan of a sweep whose first trial starts here."""
        return replace(plan, settings={**plan.settings, "start": asdict(self)})


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, resolved into plain values and functions."""

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
    """Objectives after the first one."""
    constraints: tuple[Constraint, ...] = ()
    known: Callable[[Mapping[str, Any]], Mapping[str, float]] = lambda config: {}
    """An effective configuration -> its costs that are limited and known in advance."""
    due: Callable[[SweepState], Sequence[Suggested]] = lambda state: ()
    """Trials to train besides those of the search, such as further seeds; asked after each evaluation."""
    nodes: tuple[Node, ...] = ()
    """The search space of `sample`."""
    queue: tuple[Mapping[str, Any], ...] = ()
    """Parameters of the first trials, by their names in the study; the others are sampled."""
    warm_starts: tuple[WarmStarted, ...] = ()
    """The best settings of other sweeps."""
    unit: Unit = "images"
    equal: bool = False
    """True if this budget, not the configuration, determines the length of all trials."""
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
        """The first event of the sweep's log."""
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
        """0 done, 1 the sweep stopped because of an error, 3 some trials failed, 130 interrupted."""
        if self.state.status == "finished":
            return 3 if self.state.failed else 0
        return 130 if self.state.status == "interrupted" else 1


def warm_starts(plan: SweepPlan, root: Path) -> tuple[WarmStarted, ...]:
    """The best settings of the sweeps in `search.warm_start`, by name in `root` or by folder.

    Their metric, data set or length may differ, so only the order counts.  Raises ConfigError, with one line each, for
    sweeps that are missing, have no score or no trial in this space.  Source: Feurer et al. 2015,
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


def format_warm_start(known: WarmStarted) -> str:
    """One line about the settings that come from another sweep."""
    words = f"the settings of {len(known.queue)} of its best trials come first"
    if not known.queue:
        words = "no settings, because at most half of search.trials may come from other sweeps"
    return f"warm start from {Path(known.source).name}: {words}"


def _warm_start(plan: SweepPlan, path: Path, most: int) -> WarmStarted:
    folder = SweepFolder(path.parent, path.name)
    folder.check_name(resume=True)
    scored = folder.state().ranking
    if not scored:
        raise ConfigError(f"no trial of {path.name} has a score yet; wait for one, or remove it from search.warm_start")
    points = [point_of(plan.nodes, dict(flatten(trial.config))) for trial in scored]
    inside = [point.params for point in points if not (point.problems or point.missing)]
    if not inside:
        why = ": ".join(points[0].problems[0]) if points[0].problems else f"{points[0].missing[0]} is missing"
        raise ConfigError(
            f"no trial of {path.name} fits this space ({scored[0].trial}: {why}); "
            "remove it from search.warm_start, or search the same settings"
        )
    return WarmStarted(str(path), inside[:most])
