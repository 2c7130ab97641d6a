"""The plan of a sweep for its driver, and the result; without torch or Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gensweep.causes import file_problem
from gensweep.config.objectives import Constraint, Objective
from gensweep.config.ranges import Node
from gensweep.config.sweep_config import Resources, Search
from gensweep.errors import GensweepError
from gensweep.results import Unit
from gensweep.sweep.checkpoints import checkpoint_name, checkpoint_place, store
from gensweep.sweep.events import Created, WarmStarted
from gensweep.sweep.state import SweepState


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
    start: InitialCheckpoint | None = None
    unit: Unit = "images"
    equal: bool = False
    """True if all trials have this budget, not the images of their configurations."""
    grace: float = 1
    """Cost of the first rung."""
    resources: Resources = field(default_factory=Resources)
    settings: dict[str, Any] = field(default_factory=lambda: {"sweep": {}})
    """Content of sweep.json, besides `start`."""
    keep_best: int = 1
    """Trials whose best checkpoint is kept."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Provenance: command, versions, commit."""
    relative_paths: tuple[str, ...] = ()
    """Relative paths of the configuration, as "key: path"."""

    def created(self, sweep_id: str) -> Created:
        """The event that begins the sweep's log."""
        metric, mode = self.objective.metric, self.objective.mode
        budget, search = self.budget if self.equal else None, self.search.budget
        limits = (self.unit, budget) if search is None else (self.unit, budget, search.unit, search.amount)
        further, bounds = ([each.model_dump() for each in listed] for listed in (self.further, self.constraints))
        made = Created(sweep_id, self.name, metric, mode, self.search.most_trials, self.keep_best, *limits)
        return replace(made, further=further, constraints=bounds)

    @property
    def kept_settings(self) -> dict[str, Any]:
        """Content of sweep.json."""
        return self.settings if self.start is None else {**self.settings, "start": asdict(self.start)}


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
