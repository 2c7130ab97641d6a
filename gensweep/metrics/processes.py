"""The base of all metrics: pytorch-ignite's, as one metric on all processes of torch.distributed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal, TypeAlias

import torch
import torch.distributed as dist
from jaxtyping import Int, Int64, Shaped, UInt8
from torch import Tensor

from gensweep.errors import GensweepError, ParameterError
from gensweep.metrics.real import Real
from gensweep.metrics.uncertainty import Estimate
from gensweep.results import Mode

with warnings.catch_warnings():
    # ignite imports torch.distributed.optim, which still uses torch.jit
    warnings.filterwarnings("ignore", ".*torch.jit")
    import ignite.distributed as idist
    from ignite.metrics import Metric as IgniteMetric

#: What a metric is computed from.
Needs: TypeAlias = Literal["samples", "likelihood"]

_alone: ContextVar[bool] = ContextVar("alone", default=False)


class Metric(IgniteMetric):
    """Features of images in, by `update(features)`, and one number out, by `compute()`, which all processes call.

    A batch may be empty.  GensweepError is raised if a feature is NaN or infinite, and if there are too few images.

    One that is `of_pixels` gets the images instead, UInt8[b c h w], and one that `needs` a likelihood the bits per
    dimension of held-out images, Float[b]; one that is `labelled` gets pairs with the labels of the images.
    One that is `of_training` has the training images as its reference, whatever the others have.  One that is
    `of_moments` needs no more of its reference than mean and covariance, and one that `needs_head` an extractor whose
    network classifies images.  One that is `fooled_by_noise` may find noise, or the mean image again and again, better
    than real images.  `details` are other numbers of the last `compute`.
    """

    mode: ClassVar[Mode]
    needs: ClassVar[Needs] = "samples"
    of_pixels: ClassVar[bool] = False
    labelled: ClassVar[bool] = False
    of_training: ClassVar[bool] = False
    of_moments: ClassVar[bool] = False
    needs_head: ClassVar[bool] = False
    fooled_by_noise: ClassVar[bool] = False

    def __init__(self, reference: Any = None, device: torch.device | str = "cpu") -> None:
        self.reference = reference
        self.details: Mapping[str, float] = {}
        # Apple's GPUs have no float64.
        super().__init__(device="cpu" if torch.device(device).type == "mps" else device)

    def see(self, images: UInt8[Tensor, "b c h w"], features: Tensor, labels: Int[Tensor, " b"] | None) -> None:
        """Update with what this metric looks at of some images."""
        output = images if self.of_pixels else features
        self.update((output, labels) if self.labelled else output)

    @classmethod
    def check_reference(cls, real: Real) -> None:
        """Raise ParameterError if real images cannot be the reference, such as too few; no feature is computed."""

    @classmethod
    def check_generated(cls, labels: Int[Tensor, " n"], class_names: Sequence[str]) -> None:
        """Raise GensweepError if generated images with these labels are too few."""

    def estimate(self) -> Estimate | None:
        """The score for endless images, with its error; None if the metric has none, or too few images for it."""
        return None

    def diversity(self) -> float | None:
        """How diverse the generated images are, from 0, all alike, to 1, like the reference; None if it cannot say."""
        return None

    def suspects(self, most: int) -> tuple[Int64[Tensor, " k"], UInt8[Tensor, "k c h w"]] | None:
        """Which of the generated images look like copies, the most suspicious first, and their originals.

        All processes must call it, after `compute`; None if the metric does not look for copies.
        """
        return None


def require_generated(count: int, fewest: int, metric: str) -> None:
    """Raise GensweepError if fewer images were generated than a metric needs."""
    if count < fewest:
        images = "image" if fewest == 1 else "images"
        raise GensweepError(
            f"{metric} needs at least {fewest} generated {images}, but got {count}; raise the number of samples"
        )


def require_real(count: int, fewest: int, metric: str) -> None:
    """Raise ParameterError if there are fewer real images than a metric needs."""
    if count < fewest:
        message = f"{metric} needs at least {fewest} real images, but got {count}"
        raise ParameterError("metrics", f"{message}; raise the limit of the data, or compare with another split")


@contextmanager
def alone() -> Iterator[None]:
    """Metrics are of this process's images, and no other process need call them."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def summed(values: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """The sum of the values of all processes, which must all call it."""
    if _alone.get():
        return values.clone()
    _follow_process_group()
    total = idist.all_reduce(values.clone())
    assert isinstance(total, Tensor)
    return total


def in_order(rows: Shaped[Tensor, "n w"]) -> Shaped[Tensor, "m w"]:
    """The rows of all processes, which must all call it: first those of rank 0, and so on."""
    if _alone.get():
        return rows
    _follow_process_group()
    world, rank = idist.get_world_size(), idist.get_rank()
    if world == 1:
        return rows
    counts = summed(torch.eye(world, dtype=torch.int64, device=rows.device)[rank] * len(rows))
    start = int(counts[:rank].sum())
    whole = rows.new_zeros(int(counts.sum()), rows.shape[1])
    whole[start : start + len(rows)] = rows
    return summed(whole)


def before(count: int) -> int:
    """The sum of the counts of the processes of lower rank; all must call it."""
    if _alone.get():
        return 0
    counts = in_order(torch.tensor([[count]]))
    return int(counts[: idist.get_rank()].sum())


def _follow_process_group() -> None:
    """Let ignite see the process group that somebody else, such as Ray Train, has made or ended."""
    if not dist.is_initialized():
        if idist.model_name() == "native-dist":
            idist.sync(temporary=True)
    elif "LOCAL_RANK" not in os.environ:
        # A reduction does not need it, but ignite would gather host names to guess it, and warn.
        idist.set_local_rank(0)
