"""Analyse the networks in a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from gensweep.build.model import Model, labels_of, load_checkpoint
from gensweep.errors import ConfigError
from gensweep.extras.interpret.activation_maps import ActivationMap, map_denoiser, map_generator
from gensweep.extras.interpret.recording import PathStep, evenly_spaced, reading_layers, record_path
from gensweep.families.family import Denoising
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

#: Labels in pictures.
MAX_LABELS = 10


class LabelledModel(NamedTuple):
    """A class-conditional model, the layers to record, and the labels to analyse."""

    model: Model
    layers: Mapping[str, nn.Module]
    labels: Sequence[int]


class Trajectory(NamedTuple):
    """The way from one noise image to an image under each of several labels."""

    labels: Sequence[int]
    path: Sequence[PathStep]
    images: UInt8[Tensor, "n c h w"]


class Findings(NamedTuple):
    """All findings; only a denoiser has a trajectory."""

    activation_map: ActivationMap
    trajectory: Trajectory | None


def load_labelled(folder: Path, *, class_name: str | None = None, layers: str | None = None) -> LabelledModel:
    """Load the model in a checkpoint folder; `layers` is a regular expression, None: all.

    Raises ConfigError for a model without labels, an unknown class, and if no layer matches.
    """
    model = load_checkpoint(folder)
    names = model.class_names
    if not model.family.classes:
        raise ConfigError("this model was trained without labels; name a run with conditional: true")
    if len(names) < 2:
        raise ConfigError(f"this model has only the class {names[0]}; name a run with at least two classes")
    labels = labels_of(model, len(names) if class_name is None else 1, class_name).tolist()
    if getattr(model.family, "guidance", 1) == 0:
        raise ConfigError("family.guidance is 0, which ignores the label; name a run with another guidance")
    every = reading_layers({model.family.sampled: model.network})
    try:
        pattern = re.compile(layers or "")
    except re.error as error:
        raise ConfigError(f"--layer {layers!r} is not a regular expression ({error}); for example: 'up'") from None
    found = {name: layer for name, layer in every.items() if pattern.search(name)}
    if not found:
        shown = ", ".join([*every][:: max(1, len(every) // 6)][:6])
        raise ConfigError(f"--layer {layers!r} matches none of {len(every)} layers, such as {shown}")
    return LabelledModel(model, found, labels)


def analyse(
    labelled: LabelledModel, begin: Callable[[str], None], *, samples: int, levels: int, permutations: int, seed: int
) -> Findings:
    """Run all analyses; `begin` receives the name of each stage.

    `samples` images are shown under each label, at each of `levels` noise levels.  A denoiser sees noisy images from
    its own sampler, under all labels in turn; other families generate images in one pass.
    """
    model, classes = labelled.model, len(labelled.model.class_names)
    noise, flips = Noise(seed, torch.arange(samples, device=model.device)), Noise(seed, torch.arange(permutations))
    begin("which units react to a label")
    if not isinstance(model.family, Denoising):
        return Findings(map_generator(model.family, labelled.layers, noise, classes, flips), None)
    path, _ = record_path(model.family, noise, noise.samples % classes, model.shape)
    found = map_denoiser(model.family, labelled.layers, evenly_spaced(path, levels), classes, flips)
    begin("from noise to image")
    return Findings(found, _trajectory(labelled, model.family, seed))


def _trajectory(labelled: LabelledModel, family: Denoising, seed: int) -> Trajectory:
    """How the first image of a seed emerges under each analysed label, and under others."""
    device = labelled.model.device
    labels = [*dict.fromkeys([*labelled.labels, *range(len(labelled.model.class_names))])][:MAX_LABELS]
    noise = Noise(seed, torch.zeros(len(labels), dtype=torch.int64, device=device))
    wanted, shape = torch.tensor(labels, device=device), labelled.model.shape
    path, images = record_path(family, noise, wanted, shape)
    return Trajectory(labels, path, to_uint8(images).cpu())
