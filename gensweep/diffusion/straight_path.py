"""The straight path of flow matching: x_t = (1 - t) x_0 + t eps, from the image at t = 0 to noise at t = 1.

A network predicts the velocity eps - x_0 of the path.  Its mean given x_t, v(x_t, t), is the field of an ordinary
differential equation that carries noise to images.  Up to the scale 1 - t the path is x_0 + sigma eps with
sigma = t / (1 - t), so that whatever takes noise levels takes it too.
Source: Lipman et al. 2023, section 4.1; Liu et al. 2023, section 2 (whose time runs the other way).

MeanFlow learns the mean u(z_t, r, t) of v from r to t <= 1: one step, z_r = z_t - (t - r) u, is exact, and u(z, t, t) =
v(z, t).  The derivative by t gives the MeanFlow identity, u = v - (t - r) du/dt with du/dt = (v d/dz + d/dt) u, which
needs no integral.  Source: Geng et al. 2025, eq. 3 to 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Protocol, TypeAlias

import scipy  # optimize takes a fifth of a second to import, and is imported when it is used
import torch
from annotated_types import Interval, doc
from jaxtyping import Bool, Float, Int
from torch import Tensor

from gensweep.diffusion.parameterisations import MAX_NETWORK_TIME, NETWORK_TIMES
from gensweep.diffusion.process import spaced
from gensweep.diffusion.samplers.sampler import DEFAULT_SAMPLING_STEPS, Spacing
from gensweep.registry import Registry

#: Samplers begin here, where noise has 9,999 times the scale of the image: at t = 1 it would be infinite.
HIGHEST_TIME = 1 - 1e-4
#: Half of the time over which du/dt is measured, at most.
HALF_DIFFERENCE = 0.005
#: Shares are whole multiples of one over this, so that no rounding moves an image of a long stream.
SHARE_PARTS = 2**20

#: Uniform numbers in (0, 1) -> times in (0, 1), one for each image, float64.
PathTimes: TypeAlias = Callable[[Tensor], Tensor]
#: Items are functions with positional (u) and settings keyword-only.
PATH_TIMES: Registry[Callable[..., Tensor]] = Registry("distribution of times", package="gensweep.diffusion")

#: (z, r: Float[b], t: Float[b]) -> u, float32 or more exact.
MeanVelocity: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


class StraightPath:
    """The noise levels of the straight path, in continuous time."""

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """The levels that a sampler visits; see `samplers.Levels`."""
        count = DEFAULT_SAMPLING_STEPS if steps is None else steps
        t = HIGHEST_TIME * torch.linspace(1, 0, count + 1, dtype=torch.float64)[:-1]
        return spaced(t / (1 - t), spacing)

    def network_time(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The network's time input for a level: 1000 t, in [0, 1000)."""
        return network_time(sigma / (1 + sigma))


def network_time(t: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The network's time input for times in [0, 1], float32."""
    return (NETWORK_TIMES * t).float().clamp(max=MAX_NETWORK_TIME)


@PATH_TIMES.register("uniform")
def uniform(u: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Every time equally often.  Source: Lipman et al. 2023."""
    return u


@PATH_TIMES.register("logit_normal")
def logit_normal(
    u: Float[Tensor, " b"],
    *,
    mean: Annotated[float, Interval(ge=-10, le=10), doc("mean of ln(t / (1 - t)); higher is more noise")] = 0.0,
    std: Annotated[float, Interval(gt=0, le=10), doc("standard deviation of ln(t / (1 - t))")] = 1.0,
) -> Float[Tensor, " b"]:
    """Times in the middle more often: ln(t / (1 - t)) ~ N(mean, std^2).

    It is also ln sigma ~ N(mean, std^2), as in EDM.  Source: Esser et al. 2024, eq. 19.
    """
    return torch.sigmoid(mean + std * torch.special.ndtri(u))


class Pairing(Protocol):
    """`min_batch` is the smallest batch that there is anything to pair in; 1 if images do not look at each other."""

    min_batch: ClassVar[int]

    def __call__(
        self, images: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, " b"]:
        """The index of the noise that each image of a whole batch is paired with, each noise once."""
        ...


#: Items are classes with settings keyword-only.
PAIRINGS: Registry[Callable[..., Pairing]] = Registry("pairing", package="gensweep.diffusion")


@PAIRINGS.register("independent")
class Independent:
    """Each image with its own noise.  Source: Lipman et al. 2023."""

    min_batch: ClassVar[int] = 1

    def __call__(
        self, images: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, " b"]:
        """The noise of the same index."""
        return torch.arange(len(images), device=images.device)


@PAIRINGS.register("optimal_transport")
class OptimalTransport:
    """Images with the noise nearest to them, so that the sum of squared distances in the batch is the least.

    Paths then cross less, and the flow is straighter.  Images of one label exchange their noise among themselves only:
    across labels, the noise of a label would no longer be normal, and samples start from noise that is.
    Source: Tong et al. 2024, section 3.2 (minibatch optimal transport).
    """

    min_batch: ClassVar[int] = 2

    def __call__(
        self, images: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, " b"]:
        """The exact solution, by the Hungarian method, on the CPU."""
        # |x - eps|^2 = |x|^2 + |eps|^2 - 2 x eps, of which only the last part depends on the pairs.
        gain = (images.flatten(1) @ eps.flatten(1).T).double().cpu()
        group = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels.cpu()
        order = torch.empty_like(group)
        for label in set(group.tolist()):
            members = (group == label).nonzero()[:, 0]
            _, chosen = scipy.optimize.linear_sum_assignment(gain[members][:, members].numpy(), maximize=True)
            order[members] = members[torch.from_numpy(chosen)]
        return order.to(images.device)


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
