"""Trained models: from a checkpoint to images and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gensweep.build.parts import build_family
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.families.family import Family
from gensweep.nn.updates import merge_all
from gensweep.noise import Noise
from gensweep.training.checkpoint import Checkpoint, load_tensors, read, tensor_names
from gensweep.training.device import default_device, place
from gensweep.training.ema import MAIN_AVERAGE, average_name
from gensweep.training.evaluation import draw
from gensweep.training.learner_state import RAW_WEIGHTS, load_network, weights_in, weights_prefix

Progress: TypeAlias = Callable[[int, int], None]
"""Gets the number of images that are done, and of all images."""


@dataclass(frozen=True)
class Model:
    """A trained family that can draw samples: weights of a checkpoint, and the settings it was trained with.

    `weights` says which: "ema", the average that was evaluated, "ema@0.25" with a quarter of its half-life, or "raw".
    With adapters, `checkpoint.class_names` has their new classes too.
    """

    trial: TrialConfig
    checkpoint: Checkpoint
    family: Family
    device: torch.device
    weights: str

    @property
    def network(self) -> nn.Module:
        """The network that draws samples."""
        return self.family.networks[self.family.sampled]


def load_checkpoint(
    folder: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """The model in a checkpoint folder; `overrides` change settings of sampling, such as {"sampler.steps": 20}.

    `weights` are by default those that were evaluated.  Raises ConfigError for settings and weights that do not exist,
    and GensweepError if the checkpoint is damaged or a change does not fit its weights.
    """
    device = torch.device(device) if device is not None else default_device()
    checkpoint = read(folder)
    trial = TrialConfig.from_dict(checkpoint.metadata)
    if overrides:
        trial = trial.with_overrides(overrides)
    family = build_family(trial, checkpoint.shape, len(checkpoint.class_names))
    kept = weights_in(tensor_names(folder))
    weights = weights_name(kept[0] if weights is None else weights, kept)
    model, prefix = Model(trial, checkpoint, family, device, weights), weights_prefix(weights, family.sampled)
    load_network(model.network, load_tensors(folder, prefix), prefix)
    merge_all(model.network)
    place(model.network, device, "float32").eval()
    return model


def weights_name(text: str, kept: Sequence[str]) -> str:
    """The weights that a person means by 1, 0.25, ema, ema@0.25 or raw.

    Raises ConfigError for anything else, and if they are not among those that are `kept`.
    """
    try:
        number = text.removeprefix(f"{MAIN_AVERAGE}@")
        name = text if text in (RAW_WEIGHTS, MAIN_AVERAGE) else average_name(float(number))
    except ValueError:
        raise ConfigError(f"ema={text}: give multiples of the main half-life, such as 0.25, 1 or 4, or raw") from None
    if name not in kept:
        raise ConfigError(
            f"ema={text}: this checkpoint holds the weights {', '.join(kept)}; "
            "training.ema_half_life and training.ema_factors say which averages a training keeps"
        )
    return name


def draw_samples(
    model: Model,
    count: int,
    *,
    class_name: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> Tensor:
    """Images 0..count-1 of a seed as uint8 (n, c, h, w) on the CPU, of one class or of all in turn.

    Raises ConfigError for a class that the model does not know.
    """
    labels = labels_of(model, count, class_name)

    def batch(indices: Tensor) -> Tensor:
        return draw(model.family, model.network, Noise(seed, indices), labels[indices])

    return in_batches(batch, count, batch_size, model.device, progress)


def in_batches(
    draw: Callable[[Tensor], Tensor], count: int, batch_size: int, device: torch.device, progress: Progress | None
) -> Tensor:
    """Images 0..count-1 on the CPU; `draw` gets a batch of these indices at a time."""
    drawn = []
    for start in range(0, count, batch_size):
        indices = torch.arange(start, min(start + batch_size, count), device=device)
        drawn.append(draw(indices).cpu())
        if progress is not None:
            progress(start + len(indices), count)
    return torch.cat(drawn)


def labels_of(model: Model, count: int, class_name: str | None) -> Tensor:
    """Labels of images 0..count-1: all of one class, or the classes in turn.

    Raises ConfigError for a class that the model does not know.
    """
    names = model.checkpoint.class_names
    if class_name is None:
        return torch.arange(count, device=model.device) % max(1, len(names))
    if not model.family.classes:
        raise ConfigError(f"class {class_name!r}: this model was trained without labels; leave the class out")
    if class_name not in names:
        raise ConfigError(f"{class_name!r} is not a class of this model (known: {', '.join(names)})")
    return torch.full((count,), names.index(class_name), device=model.device)
