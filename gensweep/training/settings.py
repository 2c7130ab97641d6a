"""The sections `training` and `evaluation` of a trial: their fields are the keys of its YAML."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate, doc

from gensweep.families.family import BoundPoints
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.metric import LIKELIHOOD_QUANTISATION, METRICS
from gensweep.metrics.processes import Needs
from gensweep.metrics.quantisation import QUANTISATION
from gensweep.nn.precision import MemoryFormat, Precision
from gensweep.registry import Choice, Section
from gensweep.results import MAX_IMAGES, USUAL_LATENTS, Identity
from gensweep.training.compilation import Compilation

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


Against: TypeAlias = Annotated[str, Predicate(_names_reference), doc("train, test, whole, FILE.npz or FOLDER/")]


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The length of the training, in images seen over all workers, and how they are used.

    With `device_seconds` it ends earlier, after so many seconds times devices: the pace of its first seconds says after
    how many images, and that number is kept.  The batch is that of all workers together, and the images are rounded up
    to whole batches.  Precision and memory format "auto" are what a sweep finds to be the fastest.  A compilation other
    than "none" is a mode of torch.compile, which takes a minute or so at the start; "reduce-overhead" uses CUDA graphs.
    Samples are drawn
    with weights averaged with a half-life in images, 0 for the raw ones; it is shorter at the start.  Averages with
    these multiples of the half-life are kept too, to choose from after training.  Losses are logged every `log_every`
    images, by default 50 times.  A batch that does not fit in memory goes through the networks in `accumulation` parts,
    which changes no gradient but where batch norms see parts only.
    Workers that make no progress for `stall_timeout` seconds more than their slowest step took are replaced by others,
    which go on from the last checkpoint; null: never.
    """

    images: Annotated[int, Ge(1), Le(MAX_IMAGES)] = 1_000_000
    device_seconds: Annotated[float, Gt(0)] | None = None
    batch_size: Annotated[int, Ge(1), Le(MAX_BATCH)] = 128
    precision: Precision = "auto"
    memory_format: MemoryFormat = "auto"
    compilation: Compilation = "none"
    ema_half_life: Annotated[int, Ge(0)] = 50_000
    ema_factors: tuple[Annotated[float, Gt(0)], ...] = (0.25, 4.0)
    log_every: Positive | None = None
    accumulation: Positive = 1
    stall_timeout: Annotated[float, Gt(0)] | None = 60.0


@dataclass(frozen=True, kw_only=True)
class LikelihoodSettings:
    """What the metric bpd is computed from: `images` of a split, evenly chosen from all of it.

    Diffusion models look at each at `timesteps` noise levels, drawn without a bias of the mean; null takes all levels.
    Models with latent variables look at `latents` that could have led to it, and more of them make the bound tighter.
    """

    images: Positive = 500
    timesteps: Positive | None = 20
    latents: Positive = USUAL_LATENTS
    split: Literal["train", "test"] = "test"

    @property
    def points(self) -> BoundPoints:
        """What a bound looks at for each image."""
        return BoundPoints(self.timesteps, self.latents)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """A score and a checkpoint at the end, and before: after each `every` training images, or at some shares of them.

    The shares are those of `at`, between 0 and 1, in ascending order, and by default each fifth; trainings of equal
    compute are then scored at equal compute, whatever an image costs them.
    Scores compare `samples` generated images with the real ones of a split, or of the training split without its limit
    (`whole`), with the pictures in a folder (`against: DIR/`), or by `fd` and `fid` alone with the statistics in a file
    such as pytorch-fid's (`against: FILE.npz`); `batch_size` is that of each worker and changes no image.  The metric
    bpd is of real images: those of `likelihood`.  Before its end a trial is evaluated with `rung_samples` images, drawn
    in `rung_steps` steps of its sampler, if these are given: cheaper, enough for a scheduler, and of another identity,
    so that only the last score is the objective.
    """

    every: Positive | None = None
    at: tuple[Annotated[float, Gt(0), Lt(1)], ...] | None = None
    samples: Annotated[int, Ge(2), Le(MAX_SAMPLES)] = 5_000
    batch_size: Annotated[int, Ge(1), Le(MAX_BATCH)] = 256
    metrics: Annotated[tuple[str, ...], MinLen(1)] = ("fd",)
    extractor: Annotated[Callable[[torch.device | str, Path], Extractor], Choice(EXTRACTORS, "efficientnet_lite0")]
    against: Against = "train"
    rung_samples: Annotated[int, Ge(2)] | None = None
    rung_steps: Positive | None = None
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
            return min(self.samples, IMAGES_SHOWN)
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
                metric, None, held_out, reference, LIKELIHOOD_QUANTISATION, weights, levels or "all", latents=latents
            )
        return Identity(metric, extractor, self.samples, reference, QUANTISATION, weights)

    def before_the_end(self, identity: Identity) -> Identity:
        """The identity of the scores before the last, which may be of fewer images, drawn in fewer steps."""
        if METRICS[identity.metric].needs == "likelihood":
            return identity
        return replace(identity, samples=self.rung_samples or identity.samples, steps=self.rung_steps)
