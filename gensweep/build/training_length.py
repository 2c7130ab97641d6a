"""After how many images a training has spent its budget of floating point operations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from gensweep.build.parts import build_family, load_images
from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.training.cost import LARGE_BATCH, training_flops


class TrainingLengths:
    """Lengths of trainings; a data set is loaded once, and each network is looked at once."""

    def __init__(self) -> None:
        self._images: dict[str, Images] = {}
        self._flops: dict[tuple[str, int], float] = {}

    def with_length(self, trial: TrialConfig, flops: float) -> TrialConfig:
        """The trial with as many images, in whole batches, as a budget of training operations pays for.

        Raises ConfigError if that is not even one batch, GensweepError if its images are missing.
        """
        size, each = trial.flat()["training.batch_size"], self.flops_per_image(trial)
        batches = int(flops / (each * size))
        if batches < 1:
            raise ConfigError(
                f"budget.flops: {flops:g} do not pay for one batch of {size} images at {each:.3g} FLOPs an image; give "
                f"at least {each * size:.3g}, or a smaller network or training.batch_size"
            )
        return trial.with_overrides({"training.images": batches * size})

    def flops_per_image(self, trial: TrialConfig) -> float:
        """Floating point operations of one training image, forward and backward, of all networks."""
        parts = trial.flat()["training.accumulation"]
        if (key := (network_key(trial), parts)) not in self._flops:
            images = self.few_images(trial)
            family = build_family(trial, images.shape, images.classes)
            self._flops[key] = training_flops(family, Loader(images, seed=0), parts)
        return self._flops[key]

    def few_images(self, trial: TrialConfig) -> Images:
        """The first images of a trial's data set, which has all its classes."""
        values = trial.as_dict()
        if (key := _text([values["data"], values.get("finetune")])) not in self._images:
            whole = load_images(trial)
            few = slice(LARGE_BATCH)
            self._images[key] = replace(whole, pixels=whole.pixels[few].clone(), labels=whole.labels[few].clone())
        return self._images[key]


def network_key(trial: TrialConfig) -> str:
    """What trials have in common whose networks take the same operations, in training and in sampling.

    Left out is what changes no network, no loss and no step of a sampler; which of the other settings change operations
    is the networks' affair.
    """
    without = ("seed", "training", "optimizer", "evaluation")
    settings = {key: value for key, value in trial.as_dict().items() if key not in without}
    family = {key: value for key, value in settings["family"].items() if key != "sampling_precision"}
    return _text(settings | {"family": family})


def _text(values: Any) -> str:
    return json.dumps(values, sort_keys=True)
