"""Trained models: from a checkpoint to images and scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from gensweep.build.parts import build_evaluator, build_family, load_images
from gensweep.config import TrialConfig
from gensweep.config.tree import flatten
from gensweep.errors import ConfigError
from gensweep.families.denoising import DenoisingFamily
from gensweep.families.family import Family
from gensweep.nn.updates import merge
from gensweep.noise import Noise
from gensweep.results import Score
from gensweep.training.checkpoint import Checkpoint, load_tensors, read, tensor_names
from gensweep.training.device import default_device, keep_freed_memory, place
from gensweep.training.ema import MAIN_AVERAGE, average_name
from gensweep.training.evaluation import draw, evaluate_images
from gensweep.training.learner_state import RAW_WEIGHTS, load_network, weights_in, weights_prefix

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the numbers of finished images and of all images."""

#: Sections that describe how a model was trained and evaluated; they do not affect later images.
OF_TRAINING = ("seed", "plugins", "data", "network", "optimizer", "training", "evaluation", "start")


@dataclass(frozen=True)
class Model:
    """A trained family that can generate samples: weights of a checkpoint, and the settings it was trained with.

    `weights` is "ema", the evaluated average, "ema@0.25", with a quarter of its half-life, or "raw".
    """

    config: TrialConfig
    checkpoint: Checkpoint
    family: Family
    device: torch.device
    weights: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of its images, (c, h, w)."""
        return self.checkpoint.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of its classes; adapters' classes come last."""
        return self.checkpoint.class_names

    @property
    def network(self) -> nn.Module:
        """The network that generates samples."""
        return self.family.networks[self.family.sampled]

    def with_settings(self, changes: Mapping[str, Any]) -> Model:
        """The same network with other sampling settings.  Raises ConfigError for those without an effect."""
        if not changes:
            return self
        check_effect(self.config, changes)
        config = self.config.with_overrides(changes)
        family = build_family(config, self.shape, len(self.class_names))
        family.networks[family.sampled], family.classes = self.network, self.family.classes
        if isinstance(family, DenoisingFamily):
            # A learned schedule belongs to the network.
            family.process = family.process_of(self.network)
        return replace(self, config=config, family=family)

    def sample(
        self,
        n: int,
        *,
        label: str | None = None,
        seed: int = 0,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> UInt8[Tensor, "n c h w"]:
        """Images 0..n-1 of a seed on the CPU, of one class or all in turn.  Raises ConfigError for unknown settings."""
        named = {"sampler.kind": sampler, "sampler.steps": steps, "family.guidance": guidance}
        model = self.with_settings({key: value for key, value in named.items() if value is not None})
        labels = labels_of(model, n, label)

        def batch(indices: Tensor) -> Tensor:
            return draw(model.family, model.network, Noise(seed, indices), labels[indices])

        return in_batches(batch, n, batch_size, model.device, progress)

    def score(self, images: UInt8[Tensor, "n c h w"], *, labels: Int[Tensor, " n"] | None = None) -> dict[str, Score]:
        """Scores of images, by the metrics and real images of the model's training; `labels` are their classes.

        Raises ConfigError for fewer than two images, for images of another shape, or if no metric scores images.
        """
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape or len(images) < 2:
            shape = ", ".join(map(str, self.shape))
            raise ConfigError(
                f"images of {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)} cannot be scored: pass "
                f"uint8 (n, {shape}) with n >= 2, as Model.sample returns"
            )
        trial = self.config.with_overrides({"evaluation.samples": len(images)})
        evaluator = build_evaluator(trial, load_images(trial), self.device)
        if not evaluator.metrics_of("samples"):
            raise ConfigError("evaluation.metrics: no metric of this model scores images; they all need a likelihood")
        chosen = images.to(self.device)
        return evaluate_images(evaluator, lambda indices: chosen[indices], self.device, labels=labels).scores


def check_effect(trial: TrialConfig, changes: Mapping[str, Any]) -> None:
    """Raises ConfigError for settings of training, which cannot change how images are sampled."""
    own: tuple[str, ...] = getattr(trial.bound("family").func, "of_training", ())
    of_training = tuple(f"{name}." for name in (*OF_TRAINING, *own))
    message = "is fixed since training; change settings of sampling, such as sampler.steps or family.guidance"
    if idle := [key for key, _ in flatten(changes) if f"{key}.".startswith(of_training)]:
        raise ConfigError([f"{key}: {message}" for key in idle])


def load_checkpoint(
    folder: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """The model in a checkpoint folder, by default with the weights that were evaluated.

    `overrides` change settings of sampling, such as {"sampler.steps": 20}.  Raises ConfigError for unknown settings and
    weights, GensweepError if the checkpoint is damaged or its weights do not fit a change.
    """
    keep_freed_memory()
    device = torch.device(device) if device is not None else default_device()
    checkpoint = read(folder)
    trial = TrialConfig.from_dict(checkpoint.metadata)
    if overrides:
        check_effect(trial, overrides)
        trial = trial.with_overrides(overrides)
    family = build_family(trial, checkpoint.shape, len(checkpoint.class_names))
    kept = weights_in(tensor_names(folder))
    weights = weights_name(kept[0] if weights is None else weights, kept)
    model, prefix = Model(trial, checkpoint, family, device, weights), weights_prefix(weights, family.sampled)
    load_network(model.network, load_tensors(folder, prefix), prefix)
    merge(model.network)
    place(model.network, device, "float32").eval()
    return model


def weights_name(text: str, kept: Sequence[str]) -> str:
    """The weights for 1, 0.25, ema, ema@0.25 or raw.  Raises ConfigError if they are not `kept`."""
    try:
        number = text.removeprefix(f"{MAIN_AVERAGE}@")
        name = text if text in (RAW_WEIGHTS, MAIN_AVERAGE) else average_name(float(number))
    except ValueError:
        raise ConfigError(f"ema={text}: use a multiple of the main half-life, such as 0.25, 1 or 4, or raw") from None
    if name not in kept:
        raise ConfigError(
            f"ema={text}: this checkpoint contains the weights {', '.join(kept)}; "
            "to keep others, set training.ema_half_life and training.ema_factors and train again"
        )
    return name


def in_batches(
    draw: Callable[[Tensor], Tensor], count: int, batch_size: int, device: torch.device, progress: Progress | None
) -> Tensor:
    """Images 0..count-1 on the CPU; `draw` is called with a batch of these indices at a time."""
    drawn = []
    for start in range(0, count, batch_size):
        indices = torch.arange(start, min(start + batch_size, count), device=device)
        drawn.append(draw(indices).cpu())
        if progress is not None:
            progress(start + len(indices), count)
    return torch.cat(drawn)


def labels_of(model: Model, count: int, class_name: str | None) -> Tensor:
    """Labels of images 0..count-1: one class, or the classes in turn.  Raises ConfigError for an unknown class."""
    names = model.class_names
    if class_name is None:
        return torch.arange(count, device=model.device) % max(1, len(names))
    if not model.family.classes:
        raise ConfigError(f"class {class_name!r}: this model was trained without labels; omit the class")
    if class_name not in names:
        raise ConfigError(f"{class_name!r} is not a class of this model (known: {', '.join(names)})")
    return torch.full((count,), names.index(class_name), device=model.device)
