"""What a sweep would do, found out without doing it: sizes, cost, concurrency and places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gensweep.build.parts import load_images
from gensweep.build.trial_run import count_parameters, estimate_cost
from gensweep.config import SweepConfig
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.resources import Allotment, Request, allot, local_nodes
from gensweep.sweep.space import Parameter, SearchSpace
from gensweep.training.estimate import CostEstimate

__all__ = ["Corner", "Preview", "preview"]

#: How many random trials are shown, and at how many corners steps are timed.
SHOWN, TIMED = 5, 8
#: Seconds for each of the three things that are timed.
PATIENCE = 0.3


@dataclass(frozen=True)
class Corner:
    """An extreme trial: what is set, the size of its networks, and what a full run costs here (None: not timed).

    `share` is the number of images that go through a worker's networks at once.
    """

    params: Mapping[str, Any]
    parameters: int
    cost: CostEstimate | None
    share: int


@dataclass(frozen=True)
class Preview:
    """All that `tune --dry-run` tells."""

    sweep: SweepConfig
    parameters: list[Parameter]
    samples: list[dict[str, Any]]
    corners: list[Corner]
    allotment: Allotment
    places: dict[str, str]

    @property
    def hours(self) -> tuple[float, float]:
        """Wall-clock hours of the whole sweep, if all trials were as cheap or as dear as a corner, and none pruned."""
        seconds = [corner.cost.seconds for corner in self.corners if corner.cost is not None]
        waves = self.sweep.search.trials / self.allotment.concurrent
        return min(seconds) * waves / 3600, max(seconds) * waves / 3600


def preview(sweep: SweepConfig, *, root: Path, storage: str | None) -> Preview:
    """Look at a sweep: sample its space, build the trials at its corners and time a few steps of them on this machine.

    Raises ConfigError if a trial cannot be built, its data are missing, or the resources cannot hold one trial.
    """
    # As many threads as a worker will have, or the times would be those of another machine.
    torch.set_num_threads(max(1, int(sweep.resources.cpus_per_worker)))
    space = SearchSpace.of(sweep)
    resources = sweep.resources
    request = Request(resources.workers, resources.cpus_per_worker, resources.gpus_per_worker, resources.concurrent)
    folder = SweepFolder(root, sweep.name)
    corners = space.corners()
    timed = {round(index * (len(corners) - 1) / max(1, TIMED - 1)) for index in range(TIMED)}
    return Preview(
        sweep=sweep,
        parameters=space.describe(),
        samples=[space.sample(sweep.search.seed + index) for index in range(SHOWN)],
        corners=[_corner(sweep, params, timed=index in timed) for index, params in enumerate(corners)],
        allotment=allot(request, local_nodes()),
        places={
            "sweep folder": str(folder.path) + (" (exists already)" if folder.exists else ""),
            "checkpoints": storage or str(folder.path / "checkpoints"),
        },
    )


def _corner(sweep: SweepConfig, params: dict[str, Any], *, timed: bool) -> Corner:
    trial = sweep.trial(params)
    images = load_images(trial)
    cost = estimate_cost(trial, images, workers=sweep.resources.workers, patience=PATIENCE) if timed else None
    settings = trial.flat()
    share = -(-settings["training.batch_size"] // (sweep.resources.workers * settings["training.accumulation"]))
    return Corner(params, count_parameters(trial, images), cost, share)
