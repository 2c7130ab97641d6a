"""Noise schedules that can be learnt: gamma(t), the logarithm of noise over signal, for t from 0 to 1.

alpha^2 = sigmoid(-gamma) and sigma^2 = sigmoid(gamma) in the variance-preserving form; relative to the image, the noise
has the level exp(gamma / 2).  All is float64 until it meets an image (float32 on devices that have none).
Source: Kingma et al. 2021, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple, TypeAlias

import torch
from annotated_types import Interval, doc
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.diffusion.parameterisations import MAX_NETWORK_TIME, NETWORK_TIMES
from gensweep.diffusion.process import spaced, step_count
from gensweep.diffusion.samplers.sampler import DEFAULT_SAMPLING_STEPS, Spacing
from gensweep.registry import Registry

Low: TypeAlias = Annotated[float, Interval(ge=-20, le=-2), doc("ln sigma^2 / alpha^2 at the image, at first if learnt")]
High: TypeAlias = Annotated[float, Interval(ge=1, le=20), doc("ln sigma^2 / alpha^2 at the noise, at first if learnt")]


class GammaValues(NamedTuple):
    """Gamma and its derivative at some times; they depend on the schedule's shape through the tensors `inner` only."""

    gamma: Float[Tensor, " b"]
    slope: Float[Tensor, " b"]
    inner: tuple[Float[Tensor, " b"], Float[Tensor, " b"]]


class Gamma(nn.Module):
    """gamma(t) = start + rise s(t), with a shape s that rises from 0 to 1.  Source: Kingma et al. 2021, appendix H.

    `shape` is a module that gives s(t) and its derivative; None is s(t) = t.  In discrete time there are `timesteps`
    levels, at t = 1/timesteps, ..., 1; in continuous time (None) any number, from t = 0 to 1.
    """

    def __init__(self, ends: Ends, shape: nn.Module | None, timesteps: int | None) -> None:
        super().__init__()
        self.ends, self.shape, self.timesteps = ends, shape, timesteps

    def forward(self, t: Float[Tensor, " b"]) -> GammaValues:
        """The schedule at times in [0, 1]."""
        start, rise = self.ends(t)
        s, rate = (t, torch.ones_like(t)) if self.shape is None else self.shape(t)
        return GammaValues(start + rise * s, rise * rate, (s, rate))

    def reach(self, like: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Gamma at t = 0 and at t = 1, in the type and on the device of a tensor; the shape does not change them."""
        start, rise = self.ends(like)
        return start, start + rise

    def time_at(self, gamma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Time input of the network, in [0, 1000): linear in gamma between the configured ends, constant outside.

        It does not depend on learned parameters.
        """
        share = (gamma - self.ends.low) / (self.ends.high - self.ends.low)
        return (NETWORK_TIMES * share).clamp(0, MAX_NETWORK_TIME)

    def network_time(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The network's time input for a level."""
        return self.time_at(2 * sigma.log())

    @torch.no_grad()
    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """The levels that a sampler visits, with the current weights; see `samplers.Levels`."""
        most = self.timesteps
        count = (steps or DEFAULT_SAMPLING_STEPS) if most is None else step_count(steps, most)
        t = 1 - torch.linspace(0, 1, count, dtype=torch.float64)
        if most is not None:
            t = ((t * (most - 1)).round() + 1) / most
        device = next((parameter.device for parameter in self.parameters()), t.device)
        gamma = self(t.float().to(device) if device.type == "mps" else t.to(device)).gamma
        return spaced((gamma.cpu().double() / 2).exp(), spacing)


#: Items take (timesteps), None for continuous time.
GAMMAS: Registry[Callable[..., Gamma]] = Registry("learnable schedule", package="gensweep.diffusion")


@GAMMAS.register("linear")
def linear(timesteps: int | None = None, *, gamma_min: Low = -13.3, gamma_max: High = 5.0) -> Gamma:
    """A line between two ends; nothing is learnt.  Source: Kingma et al. 2021 (ends: their model of CIFAR-10)."""
    return Gamma(Ends(gamma_min, gamma_max, learnt=False), None, timesteps)


@GAMMAS.register("learned_linear")
def learned_linear(timesteps: int | None = None, *, gamma_min: Low = -13.3, gamma_max: High = 5.0) -> Gamma:
    """A line whose two ends are learnt, from those given.  Source: Kingma et al. 2021."""
    return Gamma(Ends(gamma_min, gamma_max, learnt=True), None, timesteps)


@GAMMAS.register("monotone")
def monotone(
    timesteps: int | None = None,
    *,
    gamma_min: Low = -13.3,
    gamma_max: High = 5.0,
    features: Annotated[int, Interval(ge=1, le=65_536), doc("units of the network's hidden layer")] = 1024,
) -> Gamma:
    """A monotone network between two ends that are learnt too.  Source: Kingma et al. 2021, appendix H."""
    return Gamma(Ends(gamma_min, gamma_max, learnt=True), Monotone(features), timesteps)


class Ends(nn.Module):
    """Where a schedule starts, and how far it rises: as set, or learnt from there, with a softplus for the rise."""

    def __init__(self, low: float, high: float, *, learnt: bool) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.values = nn.Parameter(torch.tensor([low, _before_softplus(high - low)])) if learnt else None

    def forward(self, like: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Start and rise, in the type and on the device of a tensor."""
        if self.values is None:
            return like.new_full((), self.low), like.new_full((), self.high - self.low)
        start, rise = self.values.to(like).unbind()
        return start, F.softplus(rise)


class Monotone(nn.Module):
    """A shape from a network of positive weights: f(t) = l1(t) + l3(sigmoid(l2(l1(t)))), moved to run from 0 to 1.

    The biases of l1 and l3 would change nothing, and are left out.  At first it is close to a line: the sigmoids lie
    evenly over the times and a little beyond.  Source: Kingma et al. 2021, appendix H.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        slope, beyond = 20.0, 0.25
        centres = torch.linspace(-beyond, 1 + beyond, features + 2)[1:-1]
        self.direct = nn.Parameter(torch.full((1,), _before_softplus(1.0)))
        self.slopes = nn.Parameter(torch.full((features,), _before_softplus(slope)))
        self.offsets = nn.Parameter(-slope * centres)
        self.weights = nn.Parameter(torch.full((features,), _before_softplus(1.0)))

    def forward(self, t: Float[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """Values in [0, 1] and their derivatives, which are positive."""
        direct, slopes, weights = (F.softplus(p.to(t)) for p in (self.direct, self.slopes, self.weights))
        line = direct * torch.cat([t.new_zeros(1), t.new_ones(1), t])
        hidden = torch.sigmoid(line[:, None] * slopes + self.offsets.to(t))
        f = line + (hidden * weights).mean(dim=1)
        rate = direct * (1 + (hidden * (1 - hidden) * slopes * weights).mean(dim=1))
        low, high = f[0], f[1]
        return (f[2:] - low) / (high - low), rate[2:] / (high - low)


def schedule_of(network: nn.Module) -> Gamma:
    """The schedule inside a network, whatever the network is wrapped in."""
    return next(module for module in network.modules() if isinstance(module, Gamma))


def wide(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """In double precision, or in single where the device has none."""
    return x.float() if x.device.type == "mps" else x.double()


def _before_softplus(value: float) -> float:
    return math.log(math.expm1(value))
