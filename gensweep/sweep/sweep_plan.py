"""What the driver needs to know of a sweep, how many trials fit the cluster, and what comes back; without torch or Ray.

Each trial is `workers` bundles, and each bundle must fit one node.  More trials at once than fit would wait for each
other's half-started groups, so the number is computed from what the nodes really have.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gensweep.config.sweep_config import Objective, Resources, Search
from gensweep.errors import ConfigError
from gensweep.results import Unit
from gensweep.sweep.state import SweepState

NodeResources = Mapping[str, float]
"""What one node offers: {"CPU": 8, "GPU": 1}."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, resolved: each part is a plain value or a function."""

    name: str
    objective: Objective
    search: Search
    budget: float
    """What a full trial spends, in the unit of the budget."""
    job: Callable[..., None]
    """Runs in the workers: (configuration, WorkerContext, Reporter).  See gensweep.training.trial."""
    sample: Callable[[Any], dict[str, Any]]
    """Optuna trial -> overrides, flat, with dotted keys."""
    configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Overrides -> the effective configuration as plain values, for the job and the log."""
    unit: Unit = "images"
    equal: bool = False
    """Whether all trials have this budget, and not each the images that its configuration says."""
    grace: float = 1
    """What a trial spends before a scheduler may stop it."""
    resources: Resources = field(default_factory=Resources)
    settings: dict[str, Any] = field(default_factory=dict)
    """What sweep.json keeps."""
    keep_best: int = 1
    """Trials whose best checkpoint goes to the tracking server."""
    store: str = ""
    """Where the sweep shows in MLflow."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: command, versions, commit."""
    max_failures: int = 1
    """How often a trial goes on from its last checkpoint after its workers were lost.  What a trial raises by itself
    would be raised again, so that ends it at once."""
    trials_per_group: int = 25
    """After so many trials a worker group is replaced by new processes."""


@dataclass(frozen=True)
class SweepResult:
    """What became of a sweep."""

    folder: Path
    state: SweepState

    @property
    def resume_command(self) -> str:
        """What goes on with this sweep."""
        return f"gensweep tune --resume {self.folder.name}"

    @property
    def exit_code(self) -> int:
        """0 done, 1 the sweep could not go on, 3 some trials failed, 130 interrupted."""
        if self.state.status == "finished":
            return 3 if self.state.failed else 0
        return 130 if self.state.status == "interrupted" else 1


@dataclass(frozen=True)
class Allotment:
    """The answer: how many trials at once, and why."""

    resources: Resources
    cpus: float
    gpus: float
    fit: int
    concurrent: int

    def __str__(self) -> str:
        each = f"{self.resources.workers} x {_amount(self.resources.cpus_per_worker, self.resources.gpus_per_worker)}"
        limit = f", limited to {self.concurrent}" if self.concurrent < self.fit else ""
        have = _amount(self.cpus, self.gpus)
        return f"{self.concurrent} trials at once: each takes {each}, {have} available, {self.fit} fit{limit}"


def bundle(resources: Resources) -> dict[str, float]:
    """What one worker asks of Ray."""
    gpus = {"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}
    return {"CPU": resources.cpus_per_worker, **gpus}


def allot(resources: Resources, nodes: Sequence[NodeResources]) -> Allotment:
    """Fit trials onto nodes.  Raises ConfigError with the numbers if not even one fits."""
    workers, cpus_each, gpus_each = resources.workers, resources.cpus_per_worker, resources.gpus_per_worker
    bundles = [_bundles(cpus_each, gpus_each, node) for node in nodes]
    fit = sum(bundles) // workers
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    if fit < 1:
        hint = "" if any(bundles) else "; no single node has enough for one worker"
        raise ConfigError(
            f"resources: one trial asks for {workers} workers with {_amount(cpus_each, gpus_each)} each "
            f"({_amount(workers * cpus_each, workers * gpus_each)} in all), "
            f"but {_amount(cpus, gpus)} on {len(nodes)} node(s) are available{hint}; "
            "lower resources.workers, cpus_per_worker or gpus_per_worker"
        )
    return Allotment(resources, cpus, gpus, fit, min(fit, resources.concurrent or fit))


def local_nodes() -> list[NodeResources]:
    """What this machine offers, as a local Ray would see it, without starting one."""
    import torch

    return [{"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}]


def _bundles(cpus_each: float, gpus_each: float, node: NodeResources) -> int:
    """How many workers fit one node."""
    fits = math.floor(node.get("CPU", 0.0) / cpus_each + 1e-9)
    if not gpus_each:
        return fits
    # A fraction of a GPU must be a fraction of one GPU; more than one must be whole GPUs.
    gpus = math.floor(node.get("GPU", 0.0) + 1e-9)
    return min(fits, gpus * math.floor(1 / gpus_each + 1e-9) if gpus_each <= 1 else math.floor(gpus / gpus_each + 1e-9))


def _amount(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
