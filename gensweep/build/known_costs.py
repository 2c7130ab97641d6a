"""Costs of a trial that follow from its configuration, before anything of it is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from gensweep.build.footprint import Footprint, count_parameters, footprint, images_at_once
from gensweep.build.parts import build_family, load_images
from gensweep.build.training_length import TrainingLengths, network_key
from gensweep.config import TrialConfig
from gensweep.config.objectives import Constraint
from gensweep.data.images import Images
from gensweep.training.cost import draws_adaptively, sample_flops

#: The costs that are known beforehand, the quickest to count first.
KNOWN_COSTS = ("images", "params", "flops", "sample_flops", "activation_bytes", "memory_bytes")


class KnownCosts:
    """Costs of the trials of a sweep on `workers` with this device; a data set is loaded once."""

    def __init__(self, lengths: TrainingLengths, workers: int, device: torch.device) -> None:
        self._lengths, self._workers, self._device = lengths, workers, device
        self._images: dict[str, Images] = {}
        self._sample_flops: dict[str, float | None] = {}
        """By networks; None: those of an image depend on it."""

    def limited(self, trial: TrialConfig, constraints: Iterable[Constraint]) -> dict[str, float]:
        """What is known of the costs that have a limit, by name, up to the first that breaks it.

        Raises GensweepError if the trial's images are missing.
        """
        limits, found = {each.metric: each for each in constraints}, dict[str, float]()
        for name in (name for name in KNOWN_COSTS if name in limits):
            for value in self._count(trial, name):
                found[name] = value
                if limits[name].excess(value) > 0:
                    return found
        return found

    def _count(self, trial: TrialConfig, name: str) -> Iterator[float]:
        """A cost, if it is known; that of memory is an estimate."""
        settings = trial.flat()
        batch = settings["training.batch_size"]
        length = -(-settings["training.images"] // batch) * batch
        if name in ("images", "flops") and settings["training.device_seconds"] is not None:
            return
        match name:
            case "images":
                yield length
            case "params":
                yield count_parameters(trial, self._lengths.few_images(trial))
            case "flops":
                yield self._lengths.flops_per_image(trial) * length
            case "sample_flops":
                if (found := self._flops_of_sampling(trial)) is not None:
                    yield found
            case "activation_bytes":
                yield self._footprint(trial).image
            case "memory_bytes":
                yield self._footprint(trial).of(images_at_once(trial, self._workers))

    def _flops_of_sampling(self, trial: TrialConfig) -> float | None:
        if (key := network_key(trial)) not in self._sample_flops:
            images = self._lengths.few_images(trial)
            family = build_family(trial, images.shape, images.classes)
            self._sample_flops[key] = None if draws_adaptively(family) else sample_flops(family)
        return self._sample_flops[key]

    def _footprint(self, trial: TrialConfig) -> Footprint:
        if (data := trial.data.model_dump_json()) not in self._images:
            self._images[data] = load_images(trial)
        return footprint(trial, self._images[data], self._device)
