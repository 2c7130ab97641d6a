"""The sections `training` and `evaluation` of a trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, MinLen, Predicate, doc

from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.metric import LIKELIHOOD_QUANTISATION, METRICS
from gensweep.metrics.processes import Needs
from gensweep.metrics.quantisation import QUANTISATION
from gensweep.nn.precision import Precision
from gensweep.registry import Choice, Section
from gensweep.results import Identity

__all__ = ["EvaluationSettings", "HeldOut", "Precision", "TrainingSettings", "evaluation", "likelihood", "training"]

Positive: TypeAlias = Annotated[int, Ge(1)]


def _names_reference(text: str) -> bool:
    return text in ("train", "test", "whole") or text.endswith((".npz", "/"))


Against: TypeAlias = Annotated[str, Predicate(_names_reference), doc("train, test, whole, FILE.npz or FOLDER/")]
Factor: TypeAlias = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class TrainingSettings:
    """How long and in which precision a family is trained; counts are in images over all workers."""

    images: int
    batch_size: int
    precision: Precision
    ema_half_life: int
    ema_factors: tuple[float, ...]
    log_every: int
    accumulation: int = 1


@dataclass(frozen=True)
class HeldOut:
    """The real images of which a likelihood is computed, and at how many noise levels each (None: all there are)."""

    images: int
    timesteps: int | None
    split: Literal["train", "test"]


@dataclass(frozen=True)
class EvaluationSettings:
    """How often and with what a family is evaluated; `extractor` waits for a device and the cache folder."""

    every: int | None
    samples: int
    batch_size: int
    metrics: tuple[str, ...]
    extractor: Callable[[torch.device | str, Path], Extractor]
    against: str
    likelihood: HeldOut
    rung_samples: int | None = None
    rung_steps: int | None = None

    def of(self, needs: Needs) -> list[str]:
        """The metrics that are computed from samples, or from a likelihood."""
        return [name for name in self.metrics if METRICS[name].needs == needs]

    def identity(
        self,
        metric: str,
        training: TrainingSettings,
        *,
        reference: str,
        extractor: str | None = None,
        held_out: int = 0,
    ) -> Identity:
        """What a metric's last score is a score of, for an extractor's id, the name of what it compares with, and so
        many images of which a likelihood is computed.
        """
        weights = "ema" if training.ema_half_life else "raw"
        if METRICS[metric].needs == "likelihood":
            timesteps: int | Literal["all"] = self.likelihood.timesteps or "all"
            return Identity(metric, None, held_out, reference, LIKELIHOOD_QUANTISATION, weights, timesteps)
        return Identity(metric, extractor, self.samples, reference, QUANTISATION, weights)

    def before_the_end(self, identity: Identity) -> Identity:
        """The identity of the scores before the last, which may be of fewer images, drawn in fewer steps."""
        if METRICS[identity.metric].needs == "likelihood":
            return identity
        return replace(identity, samples=self.rung_samples or identity.samples, steps=self.rung_steps)


def training(
    *,
    images: Positive = 1_000_000,
    batch_size: Positive = 128,
    precision: Precision = "auto",
    ema_half_life: Annotated[int, Ge(0)] = 50_000,
    ema_factors: tuple[Factor, ...] = (0.25, 4.0),
    log_every: Positive | None = None,
    accumulation: Positive = 1,
) -> TrainingSettings:
    """The budget, in images seen over all workers, and how it is spent.

    The batch is that of all workers together, and the budget is rounded up to whole batches.  Precision "auto" is
    bfloat16 where it is faster.  Samples are drawn with weights averaged with a half-life in images, 0 for the raw
    ones; it is shorter at the start.  Averages with these multiples of the half-life are kept too, to choose from after
    training.  Losses are logged every `log_every` images, by default 50 times.  A batch that does not fit in memory
    goes through the networks in `accumulation` parts, which changes no gradient but where batch norms see parts only.
    """
    log_every = log_every or max(1, images // 50)
    return TrainingSettings(images, batch_size, precision, ema_half_life, ema_factors, log_every, accumulation)


def likelihood(
    *, images: Positive = 500, timesteps: Positive | None = 20, split: Literal["train", "test"] = "test"
) -> HeldOut:
    """What the metric bpd is computed from: `images` of a split, evenly chosen from all of it.

    Each is evaluated at `timesteps` noise levels, drawn without a bias of the mean; null takes all levels.
    """
    return HeldOut(images, timesteps, split)


def evaluation(
    *,
    every: Positive | None = None,
    samples: Annotated[int, Ge(2)] = 5_000,
    batch_size: Positive = 256,
    metrics: Annotated[tuple[str, ...], MinLen(1)] = ("fd",),
    extractor: Annotated[Callable[..., Extractor], Choice(EXTRACTORS, "efficientnet_lite0")],
    against: Against = "train",
    rung_samples: Annotated[int, Ge(2)] | None = None,
    rung_steps: Positive | None = None,
    likelihood: Annotated[Callable[[], HeldOut], Section(likelihood)],
) -> EvaluationSettings:
    """A score and a checkpoint after each `every` training images (by default a fifth of them), and at the end.

    Scores compare `samples` generated images with the real ones of a split, or of the training split without its limit
    (`whole`), with the pictures in a folder (`against: DIR/`), or by `fd` and `fid` alone with the statistics in a file
    such as pytorch-fid's (`against: FILE.npz`); `batch_size` is that of each worker and changes no image.  The metric
    bpd is of real images: those of `likelihood`.  Before its end a trial is evaluated with `rung_samples` images, drawn
    in `rung_steps` steps of its sampler, if these are given: cheaper, enough for a scheduler, and of another identity,
    so that only the last score is the objective.
    """
    return EvaluationSettings(
        every, samples, batch_size, metrics, extractor, against, likelihood(), rung_samples, rung_steps
    )
