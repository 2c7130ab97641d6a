"""Trained models: from a checkpoint to images and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gensweep.build.parts import (
    build_family,
    default_device,
)
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.families.family import Family
from gensweep.nn.new_labels import merge_all
from gensweep.noise import Noise
from gensweep.training.checkpoint import Checkpoint, load_tensors, read, tensor_names
from gensweep.training.evaluation import draw
from gensweep.training.learner_state import load_network, weights_in, weights_prefix
from gensweep.training.loop import place

__all__ = ["Model", "draw_samples", "in_batches", "labels_of", "load_checkpoint"]


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


def load_checkpoint(
    folder: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """The model in a checkpoint folder; `overrides` change settings of sampling, such as {"sampler.steps": 20}.

    `weights` are by default those that were evaluated.  Raises ConfigError for settings that do not exist and for
    weights that the checkpoint does not hold, and GensweepError if it is damaged or a change does not fit its weights.
    """
    device = torch.device(device) if device is not None else default_device()
    checkpoint = read(folder)
    trial = TrialConfig.from_dict(checkpoint.metadata)
    if overrides:
        trial = trial.with_overrides(overrides)
    family = build_family(trial, checkpoint.shape, len(checkpoint.class_names))
    network = family.networks[family.sampled]
    kept = weights_in(tensor_names(folder))
    weights = kept[0] if weights is None else weights
    if weights not in kept:
        raise ConfigError(
            f"the weights {weights!r} are not in this checkpoint (it holds {', '.join(kept)}); "
            "training.ema_half_life and training.ema_factors say which averages a training keeps"
        )
    prefix = weights_prefix(weights, family.sampled)
    load_network(network, load_tensors(folder, prefix), prefix)
    merge_all(network)
    place(network, device, "float32").eval()
    return Model(trial, checkpoint, family, device, weights)


def draw_samples(
    model: Model,
    count: int,
    *,
    class_name: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images 0..count-1 of a seed as uint8 (n, c, h, w) on the CPU, of one class or of all in turn.

    `progress` gets (images done, images in all).  Raises ConfigError for a class that the model does not know.
    """
    labels = labels_of(model, count, class_name)
    network = model.family.networks[model.family.sampled]
    return in_batches(
        lambda indices: draw(model.family, network, Noise(seed, indices), labels[indices]),
        count,
        batch_size,
        model.device,
        progress,
    )


def in_batches(
    draw: Callable[[Tensor], Tensor],
    count: int,
    batch_size: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
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
