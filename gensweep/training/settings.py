"""The sections `training` and `evaluation` of a trial: their fields are the keys of its YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate, doc

from gensweep.families.family import BoundPoints
from gensweep.metrics.extractors import EXTRACTORS, QUANTISATION, Extractor
from gensweep.metrics.metric import LIKELIHOOD_QUANTISATION, METRICS, Needs
from gensweep.nn.precision import MemoryFormat, Precision
from gensweep.registry import Choice, Section, Takes
from gensweep.results import MAX_IMAGES, Identity
from gensweep.training.device import Compilation

#: Generated images that are kept to look at.
IMAGES_SHOWN = 64
#: Images of a batch, and scored images, that a slip of the keyboard asks for and nobody else.
MAX_BATCH = 10**6
MAX_SAMPLES = 10**7
#: After which shares of a training it is evaluated if it does not say.
DEFAULT_SHARES = (0.2, 0.4, 0.6, 0.8)

Positive: TypeAlias = Annotated[int, Ge(1)]


def _names_reference(text: str) -> bool:
    return text in ("train", "test", "whole") or text.endswith((".npz", "/"))


Against: TypeAlias = Annotated[str, Predicate(_names_reference), Takes("train, test, whole, FILE.npz or FOLDER/")]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The length of the training, in images seen over all workers, and how they are used."""

    images: Annotated[int, Ge(1), Le(MAX_IMAGES), doc("images seen over all workers, rounded up to whole batches")] = (
        1_000_000
    )
    device_seconds: Annotated[
        Annotated[float, Gt(0)] | None,
        doc(
            "end earlier, after so many seconds times devices: the pace of the first seconds says after how many "
            "images, and that number is kept; null: after `images`"
        ),
    ] = None
    batch_size: Annotated[int, Ge(1), Le(MAX_BATCH), doc("images of a step, over all workers together")] = 128
    precision: Annotated[Precision, doc("of the networks' arithmetic; auto: bfloat16 on devices with units for it")] = (
        "auto"
    )
    memory_format: Annotated[MemoryFormat, doc("order of an image's numbers in memory; auto: likely the fastest")] = (
        "auto"
    )
    compilation: Annotated[
        Compilation,
        doc(
            "mode of torch.compile, which takes a minute or so at the start; reduce-overhead uses CUDA graphs; none "
            "leaves networks as they are"
        ),
    ] = "none"
    ema_half_life: Annotated[
        int,
        Ge(0),
        doc("images, the half-life of the averaged weights that draw samples, shorter at first; 0: raw ones"),
    ] = 50_000
    ema_factors: Annotated[
        tuple[Annotated[float, Gt(0)], ...],
        doc("averages with these multiples of the half-life are kept too, to choose from after training"),
    ] = (0.25, 4.0)
    log_every: Annotated[Positive | None, doc("images between two logs of the losses; null: a fiftieth of all")] = None
    accumulation: Annotated[
        Positive,
        doc(
            "parts in which a batch that does not fit in memory goes through the networks; only batch norms, free "
            "bits, dropout and spectral norms (one power iteration a part) see the difference"
        ),
    ] = 1
    checkpoint_interval: Annotated[
        Annotated[float, Gt(0)] | None,
        doc(
            "seconds after which a checkpoint is saved, from which the trial goes on after an interruption, if no "
            "evaluation saved one before; null: only with evaluations"
        ),
    ] = 600.0


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """What the metric bpd is computed from."""

    images: Annotated[Positive, doc("images whose likelihood is computed, evenly chosen from all of the split")] = 500
    timesteps: Annotated[
        Positive | None,
        doc("noise levels that a diffusion model looks at for each image, drawn without a bias of the mean; null: all"),
    ] = 20
    latents: Annotated[
        Positive,
        doc("latents that could have led to an image, for models that have them; more make the bound tighter"),
    ] = 50
    split: Annotated[Literal["train", "test"], doc("where the images are from")] = "test"

    @property
    def points(self) -> BoundPoints:
        """What a bound looks at for each image."""
        return BoundPoints(self.timesteps, self.latents)


def drawn_unscored(samples: int) -> int:
    """Images that are drawn where `samples` would be, but no score is of them: for people to look at."""
    return min(samples, IMAGES_SHOWN)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """A score and a checkpoint at the end, and before: after each `every` training images, or at some shares of them.

    With `rung_samples` the evaluations before the end are cheaper, enough for a scheduler, and of another identity, so
    that only the last score counts.
    """

    every: Annotated[Positive | None, doc("training images between two evaluations; null: as `at` says")] = None
    at: Annotated[
        tuple[Annotated[float, Gt(0), Lt(1)], ...] | None,
        doc(
            "shares of the training after which it is evaluated, ascending, so that trainings of equal compute are "
            "scored at equal compute; null: each fifth"
        ),
    ] = None
    samples: Annotated[int, Ge(2), Le(MAX_SAMPLES), doc("generated images that are scored")] = 5_000
    batch_size: Annotated[
        int, Ge(1), Le(MAX_BATCH), doc("images that each worker draws at once, which changes no image")
    ] = 256
    metrics: Annotated[tuple[str, ...], MinLen(1), doc("names of the metrics; see docs/metrics.md")] = ("fd",)
    extractor: Annotated[
        Callable[[torch.device | str, Path], Extractor],
        Choice(EXTRACTORS, "efficientnet_lite0"),
        doc("the network whose features are compared"),
    ]
    against: Annotated[
        Against,
        doc(
            "what generated images are compared with: a split, the training split without its limit (whole), the "
            "pictures in a folder, or by fd and fid alone the statistics in a file such as pytorch-fid's"
        ),
    ] = "train"
    rung_samples: Annotated[
        Annotated[int, Ge(2)] | None, doc("images of the evaluations before the last; null: `samples`")
    ] = None
    likelihood: Annotated[Callable[[], LikelihoodSettings], Section(LikelihoodSettings)]

    def of(self, needs: Needs) -> list[str]:
        """The metrics that are computed from samples, or from a likelihood."""
        return [name for name in self.metrics if METRICS[name].needs == needs]

    def rungs(self, images: int) -> Sequence[int]:
        """After how many training images, of so many, an evaluation comes before the last; ascending."""
        if self.every is not None:
            return range(self.every, images, self.every)
        shares = DEFAULT_SHARES if self.at is None else self.at
        return sorted({max(1, round(share * images)) for share in shares} - {images})

    def drawn(self, *, last: bool) -> int:
        """Images of the last evaluation, or of one before; without a score of theirs they are for people to look at."""
        if not self.of("samples"):
            return drawn_unscored(self.samples)
        return self.samples if last else self.rung_samples or self.samples

    def identity(
        self,
        metric: str,
        training: TrainingSettings,
        *,
        reference: str,
        extractor: str | None = None,
        held_out: int = 0,
    ) -> Identity:
        """The identity of a metric's last score.

        It takes an extractor's id, the name of what is compared with, and the number of images whose likelihood is
        computed.
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

    def before_the_end(self, identity: Identity) -> Identity:
        """The identity of the scores before the last, which may be of fewer images."""
        if METRICS[identity.metric].needs == "likelihood":
            return identity
        return replace(identity, samples=self.rung_samples or identity.samples)
