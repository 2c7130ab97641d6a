"""The sections `training` and `evaluation` of a trial; fields are the keys of the YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate, doc

from gensweep.data.images import Images
from gensweep.families.family import BoundPoints
from gensweep.metrics.extractors import EXTRACTORS, QUANTISATION, Extractor
from gensweep.metrics.metric import LIKELIHOOD_QUANTISATION, METRICS, Needs
from gensweep.nn.precision import MemoryFormat, Precision
from gensweep.registry import Choice, Section, Takes
from gensweep.results import MAX_IMAGES, Identity
from gensweep.training.device import Compilation

#: Generated images to keep for viewing.
IMAGES_SHOWN = 64
#: Upper limits of a batch and of scored images, against typing errors.
MAX_BATCH = 10**6
MAX_SAMPLES = 10**7
#: Default shares of a training at which it is evaluated.
DEFAULT_SHARES = (0.2, 0.4, 0.6, 0.8)

Positive: TypeAlias = Annotated[int, Ge(1)]


def _names_reference(text: str) -> bool:
    return text in ("train", "test", "whole") or text.endswith((".npz", "/"))


Against: TypeAlias = Annotated[str, Predicate(_names_reference), Takes("train, test, whole, FILE.npz or FOLDER/")]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Length of the training, in images over all workers, and how they are used."""

    images: Annotated[int, Ge(1), Le(MAX_IMAGES), doc("images seen over all workers, rounded up to whole batches")] = (
        1_000_000
    )
    device_seconds: Annotated[
        Annotated[float, Gt(0)] | None,
        doc(
            "end after this many seconds times devices: the speed of the first seconds fixes the number of images; "
            "null: after `images`"
        ),
    ] = None
    batch_size: Annotated[int, Ge(1), Le(MAX_BATCH), doc("images per step, over all workers")] = 128
    precision: Annotated[Precision, doc("precision of the networks; auto: bfloat16 on devices with units for it")] = (
        "auto"
    )
    memory_format: Annotated[MemoryFormat, doc("memory order of images; auto: likely the fastest")] = "auto"
    compilation: Annotated[
        Compilation,
        doc(
            "mode of torch.compile, which takes about a minute at the start; reduce-overhead uses CUDA graphs; none "
            "does not compile"
        ),
    ] = "none"
    ema_half_life: Annotated[
        int,
        Ge(0),
        doc("half-life of the averaged weights used for sampling, in images, shorter at first; 0: raw weights"),
    ] = 50_000
    ema_factors: Annotated[
        tuple[Annotated[float, Gt(0)], ...],
        doc("also keep averages with these multiples of the half-life, to choose from after training"),
    ] = (0.25, 4.0)
    log_every: Annotated[Positive | None, doc("images between two logs of the losses; null: a fiftieth of all")] = None
    accumulation: Annotated[
        Positive,
        doc(
            "parts of a batch that does not fit in memory; the result differs only for batch norms, free "
            "bits, dropout and spectral norms (one power iteration per part)"
        ),
    ] = 1
    checkpoint_interval: Annotated[
        Annotated[float, Gt(0)] | None,
        doc(
            "seconds after which a checkpoint is saved for resuming, if no evaluation saved one before; "
            "null: only with evaluations"
        ),
    ] = 600.0


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """Settings of the metric bpd."""

    images: Annotated[Positive, doc("number of images, evenly spaced in the split")] = 500
    timesteps: Annotated[
        Positive | None,
        doc("random noise levels per image for a diffusion model (unbiased); null: all"),
    ] = 20
    latents: Annotated[
        Positive,
        doc("latents per image for models that have them; more make the bound tighter"),
    ] = 50
    split: Annotated[Literal["train", "test"], doc("split of the images")] = "test"

    @property
    def points(self) -> BoundPoints:
        """Number of noise levels or latents per image for a bound."""
        return BoundPoints(self.timesteps, self.latents)


def drawn_unscored(samples: int) -> int:
    """Number of images to generate for viewing if no metric needs samples."""
    return min(samples, IMAGES_SHOWN)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Scores and checkpoints: at the end, and before after each `every` images or at shares of the training."""

    every: Annotated[Positive | None, doc("training images between two evaluations; null: use `at`")] = None
    at: Annotated[
        tuple[Annotated[float, Gt(0), Lt(1)], ...] | None,
        doc(
            "shares of the training at which it is evaluated, ascending, so that scores compare at equal compute; "
            "null: each fifth"
        ),
    ] = None
    samples: Annotated[int, Ge(2), Le(MAX_SAMPLES), doc("number of generated images to score")] = 5_000
    batch_size: Annotated[
        int, Ge(1), Le(MAX_BATCH), doc("images that each worker generates at once; does not change them")
    ] = 256
    metrics: Annotated[tuple[str, ...], MinLen(1), doc("names of the metrics; see docs/metrics.md")] = ("fd",)
    extractor: Annotated[
        Callable[[torch.device | str, Path, Images], Extractor],
        Choice(EXTRACTORS, "efficientnet_lite0"),
        doc("network whose features are compared"),
    ]
    against: Annotated[
        Against,
        doc(
            "reference for generated images: a split, the training split without its limit (whole), the "
            "pictures in a folder, or, for fd and fid only, a statistics file such as pytorch-fid's"
        ),
    ] = "train"
    likelihood: Annotated[Callable[[], LikelihoodSettings], Section(LikelihoodSettings)]

    def of(self, needs: Needs) -> list[str]:
        """Metrics of samples, or metrics of likelihood."""
        return [name for name in self.metrics if METRICS[name].needs == needs]

    def rungs(self, images: int) -> Sequence[int]:
        """Image counts, ascending, of the evaluations before the last."""
        if self.every is not None:
            return range(self.every, images, self.every)
        shares = DEFAULT_SHARES if self.at is None else self.at
        return sorted({max(1, round(share * images)) for share in shares} - {images})

    @property
    def drawn(self) -> int:
        """Images of an evaluation; if none are scored, images for viewing."""
        return self.samples if self.of("samples") else drawn_unscored(self.samples)

    def identity(
        self,
        metric: str,
        training: TrainingSettings,
        *,
        reference: str,
        extractor: str | None = None,
        held_out: int = 0,
    ) -> Identity:
        """Identity of a metric's scores.

        Needs the extractor's id, the name of the reference, and the number of images for a likelihood.
        """
        weights = "ema" if training.ema_half_life else "raw"
        if METRICS[metric].needs == "likelihood":
            levels, latents = self.likelihood().points
            return Identity(
                metric,
                None,
                held_out,
                reference,
                LIKELIHOOD_QUANTISATION,
                weights,
                levels or "all",
                latents=latents,
                labels=None,
            )
        return Identity(metric, extractor, self.samples, reference, QUANTISATION, weights)
