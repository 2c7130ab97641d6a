"""What the driver needs to know of a sweep, and what comes back; without torch or Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gensweep.config.objectives import Constraint, Objective
from gensweep.config.ranges import Node
from gensweep.config.sweep_config import Resources, Search
from gensweep.results import Unit
from gensweep.sweep.allotment import NodeResources
from gensweep.sweep.continuation import going_on_command
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.start import Start
from gensweep.sweep.state import SweepState

#: The name of the next trial where the search has not drawn it yet.
NEW = ""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, resolved: each part is a plain value or a function."""

    name: str
    objective: Objective
    search: Search
    budget: float
    """What a full trial spends, in the unit of the budget."""
    job: Callable[..., None]
    """Runs in the workers: (configuration, WorkerContext, Reporter).  See gensweep.training.reporter."""
    sample: Callable[[Any], dict[str, Any]]
    """Optuna trial -> overrides, flat, with dotted keys."""
    configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Overrides -> the effective configuration as plain values, for the job and the log."""
    further: tuple[Objective, ...] = ()
    """Objectives beside the first one."""
    constraints: tuple[Constraint, ...] = ()
    known: Callable[[Mapping[str, Any]], Mapping[str, float]] = lambda config: {}
    """An effective configuration -> costs that follow from it, of those that have a limit."""
    nodes: tuple[Node, ...] = ()
    """The search space, of which `sample` draws."""
    queue: tuple[Mapping[str, Any], ...] = ()
    """Parameters of the first trials, by their names in the study; those that are left out are drawn."""
    warm_starts: tuple[WarmStarted, ...] = ()
    """What the search is to know of other sweeps from the start."""
    start: Start | None = None
    """What the first trial of a new sweep goes on from."""
    unit: Unit = "images"
    equal: bool = False
    """Whether all trials have this budget, and not each the images that its configuration says."""
    grace: float = 1
    """What a trial spends before a scheduler may stop it."""
    resources: Resources = field(default_factory=Resources)
    settings: dict[str, Any] = field(default_factory=lambda: {"sweep": {}})
    """What sweep.json keeps, besides `start`."""
    keep_best: int = 1
    """Trials whose best checkpoint goes to the tracking server."""
    store: str = ""
    """Where the sweep shows in MLflow."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: command, versions, commit."""
    memory_problem: Callable[[NodeResources], str | None] | None = None
    """What is wrong with the memory of a machine that it is asked on, by what that offers to workers."""
    relative_paths: tuple[str, ...] = ()
    """Paths of the configuration that mean something else on each machine, as "key: path"."""
    trials_per_group: int = 25
    """After so many trials a worker group is replaced by new processes."""
    measure: Callable[[SweepPlan], SweepPlan] | None = None
    """Settles what is measured on a worker's device, within seconds; what it says of a plan goes for the sweep."""

    @property
    def kept_settings(self) -> dict[str, Any]:
        """What sweep.json keeps."""
        return self.settings if self.start is None else {**self.settings, "start": self.start.as_dict()}

    def measured(self) -> SweepPlan:
        """The plan once nothing is left to be measured."""
        return self if self.measure is None else self.measure(self)


@dataclass(frozen=True)
class SweepResult:
    """What became of a sweep."""

    folder: Path
    state: SweepState
    stored_at: str | None = None
    """Where another machine finds the sweep."""

    @property
    def resume_command(self) -> str:
        """What goes on with this sweep."""
        return going_on_command("resume", self.folder)

    @property
    def retry_command(self) -> str | None:
        """What runs the failed trials again, if there are any, and goes on with the others."""
        return going_on_command("retry", self.folder) if self.state.failed else None

    @property
    def exit_code(self) -> int:
        """0 done, 1 the sweep could not go on, 3 some trials failed, 130 interrupted."""
        if self.state.status == "finished":
            return 3 if self.state.failed else 0
        return 130 if self.state.status == "interrupted" else 1
