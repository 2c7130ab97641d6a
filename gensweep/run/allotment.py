"""Fit trials to the nodes of a cluster, without torch or Ray.  Each worker is a bundle that must fit one node."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError
from gensweep.machine import usable_cores

NodeResources = Mapping[str, float]
"""Resources of one node, such as {"CPU": 8, "GPU": 1}."""


@dataclass(frozen=True)
class Allotment:
    """How many trials may run at once, and the reason."""

    resources: Resources
    cpus: float
    gpus: float
    fit: int
    concurrent: int

    def __str__(self) -> str:
        asked = self.resources
        each = f"{format_workers(asked)} x {format_resources(asked.cpus_per_worker, asked.gpus_per_worker)}"
        limit = f", limited to {self.concurrent}" if self.concurrent < self.fit else ""
        have = format_resources(self.cpus, self.gpus)
        return f"{self.concurrent} trials at once: each takes {each}, {have} available, {self.fit} fit{limit}"


def bundle(resources: Resources) -> dict[str, float]:
    """The resources of one worker."""
    gpus = {"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}
    return {"CPU": resources.cpus_per_worker, **gpus}


def trials_that_fit(resources: Resources, nodes: Sequence[NodeResources]) -> int:
    """Trials that fit the nodes at once, without the user's limit."""
    counts = resources.worker_counts
    trials, rest = divmod(sum(workers_that_fit(resources, node) for node in nodes), counts[0])
    return trials + (rest >= counts[-1])


def limited(resources: Resources, trials: int) -> int:
    """A number of trials at once, capped at the user's limit."""
    return trials if resources.concurrent == "auto" else min(trials, resources.concurrent)


def allot(resources: Resources, nodes: Sequence[NodeResources] | None = None, *, grows: bool = False) -> Allotment:
    """Fit trials to the nodes, by default to this machine, as a local Ray would see it.

    Raises ConfigError with the numbers if not even one trial fits, unless an autoscaler may add nodes (`grows`).
    """
    nodes = [local_node(resources)] if nodes is None else nodes
    fit = trials_that_fit(resources, nodes)
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    if fit < 1 and not grows:
        workers, cpus_each = resources.worker_counts[-1], resources.cpus_per_worker
        gpus_each = resources.gpus_per_worker
        one_fits = any(workers_that_fit(resources, node) for node in nodes)
        hint = "" if one_fits else "; no single node has enough for one worker"
        raise ConfigError(
            f"resources: one trial needs {format_workers(resources)} workers with "
            f"{format_resources(cpus_each, gpus_each)} each "
            f"({format_resources(workers * cpus_each, workers * gpus_each)} in all), "
            f"but {format_resources(cpus, gpus)} on {len(nodes)} node(s) are available{hint}; "
            "lower resources.workers, cpus_per_worker or gpus_per_worker"
        )
    return Allotment(resources, cpus, gpus, fit, limited(resources, max(1, fit)))


def local_node(resources: Resources) -> NodeResources:
    """The resources of this machine that a sweep may use."""
    cores = usable_cores()
    return {"CPU": float(min(cores, resources.cpus or cores)), "GPU": float(len(visible_gpus()))}


def visible_gpus() -> tuple[str, ...]:
    """The GPUs that a local Ray would use, by their names in CUDA_VISIBLE_DEVICES."""
    import torch

    count, named = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(named.split(",")[:count]) if named else tuple(map(str, range(count)))


def format_workers(resources: Resources) -> str:
    """The number of workers of a trial, or its range."""
    counts = resources.worker_counts
    return str(counts[0]) if len(counts) == 1 else f"{counts[-1]} to {counts[0]}"


def format_scarce(resources: Resources) -> str:
    """The resource that limits a worker: its GPU if it needs one, else its CPUs."""
    gpus = resources.gpus_per_worker
    return f"{gpus:g} GPU" if gpus else format_resources(resources.cpus_per_worker, 0)


def format_resources(cpus: float, gpus: float) -> str:
    """An amount of CPUs and GPUs."""
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")


def workers_that_fit(resources: Resources, node: NodeResources) -> int:
    """Workers that fit one node, regardless of their trials."""
    gpus_each = resources.gpus_per_worker
    fits = math.floor(node.get("CPU", 0.0) / resources.cpus_per_worker + 1e-9)
    if not gpus_each:
        return fits
    # A fraction of a GPU must be a fraction of one GPU; more than one must be whole GPUs.
    gpus = math.floor(node.get("GPU", 0.0) + 1e-9)
    return min(fits, gpus * math.floor(1 / gpus_each + 1e-9) if gpus_each <= 1 else math.floor(gpus / gpus_each + 1e-9))
