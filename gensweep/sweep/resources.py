"""How many trials fit the machine or cluster at the same time.

Each trial is `workers` bundles, and each bundle must fit one node.  More trials at once than fit would wait for each
other's half-started groups, so the number is computed from what the nodes really have.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gensweep.errors import ConfigError

__all__ = ["Allotment", "Request", "allot", "local_nodes"]

Node = Mapping[str, float]
"""What one node offers: {"CPU": 8, "GPU": 1}."""


@dataclass(frozen=True)
class Request:
    """What one trial asks for."""

    workers: int = 1
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0
    concurrent: int | None = None
    """At most so many trials at once; None is as many as fit."""

    @property
    def bundle(self) -> dict[str, float]:
        """One worker's resources, in Ray's words."""
        gpus = {"GPU": float(self.gpus_per_worker)} if self.gpus_per_worker else {}
        return {"CPU": float(self.cpus_per_worker), **gpus}


@dataclass(frozen=True)
class Allotment:
    """The answer: how many trials at once, and why."""

    request: Request
    cpus: float
    gpus: float
    fit: int
    concurrent: int

    def __str__(self) -> str:
        request = self.request
        each = f"{request.workers} x {_amount(request.cpus_per_worker, request.gpus_per_worker)}"
        limit = f", limited to {self.concurrent}" if self.concurrent < self.fit else ""
        have = _amount(self.cpus, self.gpus)
        return f"{self.concurrent} trials at once: each takes {each}, {have} available, {self.fit} fit{limit}"


def allot(request: Request, nodes: Sequence[Node]) -> Allotment:
    """Fit trials onto nodes.  Raises ConfigError with the numbers if not even one fits."""
    if request.workers < 1 or request.cpus_per_worker <= 0 or request.gpus_per_worker < 0:
        raise ConfigError(
            "resources: workers >= 1, cpus_per_worker > 0 and gpus_per_worker >= 0 must hold, but got "
            f"workers={request.workers}, cpus_per_worker={request.cpus_per_worker}, "
            f"gpus_per_worker={request.gpus_per_worker}"
        )
    if request.concurrent is not None and request.concurrent < 1:
        raise ConfigError(f"resources.concurrent: {request.concurrent} is less than 1")
    bundles = sum(_bundles(request, node) for node in nodes)
    fit = bundles // request.workers
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    if fit < 1:
        largest = max((_bundles(request, node) for node in nodes), default=0)
        total = _amount(request.workers * request.cpus_per_worker, request.workers * request.gpus_per_worker)
        hint = "" if largest else "; no single node has enough for one worker"
        raise ConfigError(
            f"resources: one trial asks for {request.workers} workers with "
            f"{_amount(request.cpus_per_worker, request.gpus_per_worker)} each "
            f"({total} in all), "
            f"but {_amount(cpus, gpus)} on {len(nodes)} node(s) are available{hint}; "
            "lower resources.workers, cpus_per_worker or gpus_per_worker"
        )
    return Allotment(request, cpus, gpus, fit, min(fit, request.concurrent or fit))


def local_nodes() -> list[Node]:
    """What this machine offers, as a local Ray would see it, without starting one."""
    import torch

    return [{"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}]


def _bundles(request: Request, node: Node) -> int:
    fits = math.floor(node.get("CPU", 0.0) / request.cpus_per_worker + 1e-9)
    if request.gpus_per_worker:
        # A fraction of a GPU must be a fraction of one GPU; more than one must be whole GPUs.
        gpus = math.floor(node.get("GPU", 0.0) + 1e-9)
        each = request.gpus_per_worker
        by_gpu = gpus * math.floor(1 / each + 1e-9) if each <= 1 else math.floor(gpus / each + 1e-9)
        fits = min(fits, by_gpu)
    return fits


def _amount(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
