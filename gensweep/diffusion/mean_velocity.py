"""The mean velocity of a flow between two times, and what a network learns it from.

Along dz/dt = v(z, t), u(z_t, r, t) is the mean of v from r to t <= 1: one step, z_r = z_t - (t - r) u, is exact, and
u(z, t, t) = v(z, t).  The derivative by t gives the MeanFlow identity, u = v - (t - r) du/dt with
du/dt = (v d/dz + d/dt) u, which needs no integral.
Source: Geng et al. 2025, eq. 3 to 8.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Bool, Float, Int
from torch import Tensor

#: Half of the time over which du/dt is measured, at most.
HALF_DIFFERENCE = 0.005
#: Shares are whole multiples of one over this, so that no rounding moves an image of a long stream.
SHARE_PARTS = 2**20

#: (z, r: Float[b], t: Float[b]) -> u, float32 or more exact.
MeanVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]


def velocity_of_identity(
    u: MeanVelocity,
    z: Float[Tensor, "b c h w"],
    r: Float[Tensor, " b"],
    t: Float[Tensor, " b"],
    velocity: Float[Tensor, "b c h w"],
) -> Float[Tensor, "b c h w"]:
    """The right side of the MeanFlow identity, v - (t - r) du/dt; u itself if u is a mean velocity.

    Where `velocity` is that of one path, eps - x_0, its mean is the right side.  du/dt is a central difference of two
    evaluations of u, whose error is of second order in HALF_DIFFERENCE: no derivative of u is needed, so it may be
    anything, compiled kernels and fused attention too.  The times asked for are r <= t - h and t + h <= 1 + h.
    """
    # The difference never reaches beyond r; where r = t it is 0, and so is its weight.
    h = (t - r).clamp(max=HALF_DIFFERENCE)
    step = h.view(-1, 1, 1, 1) * velocity
    difference = u(z + step, r, t + h) - u(z - step, r, t - h)
    return velocity - ((t - r) / HALF_DIFFERENCE).clamp(min=1).view(-1, 1, 1, 1) / 2 * difference


def have_intervals(positions: Int[Tensor, " b"], share: float) -> Bool[Tensor, " b"]:
    """Which images of the training stream learn a mean velocity, r < t, and not a velocity, r = t: evenly spread.

    Of n images in a row there are at most `most_intervals(n, share)`.
    """
    parts = round(share * SHARE_PARTS)
    return (positions + 1) * parts // SHARE_PARTS > positions * parts // SHARE_PARTS


def most_intervals(n: int, share: float) -> int:
    """The share of n images, rounded up."""
    return -(-n * round(share * SHARE_PARTS) // SHARE_PARTS)
