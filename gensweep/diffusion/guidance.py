"""Classifier-free guidance: one network, with and without the label."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.noise import Noise

#: The random stream that decides which labels are dropped.
LABEL_DROPOUT_STREAM = 2


def guided(
    network: Callable[..., Tensor],
    x_t: Float[Tensor, "b c h w"],
    time: Float[Tensor, " b"],
    labels: Int[Tensor, " b"] | None,
    *,
    null: int,
    scale: float,
) -> Float[Tensor, "b c h w"]:
    """Guided eps = eps_u + scale (eps_c - eps_u): 0 ignores the label, 1 is plain conditioning, more exaggerates it.

    `null` is the label that stands for "no label"; without labels nothing is guided.  Where both parts are needed they
    run as one doubled batch.  It is the same for every parameterisation, as each is linear in eps.
    Source: Ho & Salimans 2022, eq. 6, whose w is scale - 1.
    """
    if labels is None:
        return network(x_t, time, None)
    nothing = torch.full_like(labels, null)
    if scale in (0, 1):
        return network(x_t, time, labels if scale else nothing)
    both = network(torch.cat([x_t, x_t]), torch.cat([time, time]), torch.cat([nothing, labels]))
    unconditional, conditional = both.chunk(2)
    return torch.lerp(unconditional, conditional, scale)


def scale_at(sigma: float, scale: float, interval: tuple[float, float] | None) -> float:
    """The scale of guidance at a noise level: `scale` where low < sigma <= high, plain conditioning (1) elsewhere.

    An interval of None is all levels.  At high levels guidance reduces diversity, and at low ones it has no effect but
    its cost; levels are standard deviations of noise relative to images in [-1, 1].
    Source: Kynkaanniemi et al. 2024, eq. 5.
    """
    return scale if interval is None or interval[0] < sigma <= interval[1] else 1.0


def training_labels(
    labels: Int[Tensor, " b"], noise: Noise, *, classes: int, dropout: float
) -> Int[Tensor, " b"] | None:
    """The labels of a training batch, a share `dropout` of them replaced by `classes`, which stands for "no label".

    None if there are no classes.
    """
    return torch.where(noise.uniform(stream=LABEL_DROPOUT_STREAM) < dropout, classes, labels) if classes else None
