"""Noise schedules that can be learnt: gamma(t), the logarithm of noise over signal, for t from 0 to 1.

alpha^2 = sigmoid(-gamma) and sigma^2 = sigmoid(gamma) in the variance-preserving form; relative to the image, the noise
has the level exp(gamma / 2).  All is float64 until it meets an image (float32 on devices that have none).
Source: Kingma et al. 2021, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from annotated_types import Interval
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.diffusion.parameterisations import NETWORK_TIMES
from gensweep.diffusion.process import spaced
from gensweep.diffusion.samplers.sampler import Spacing
from gensweep.errors import ParameterError
from gensweep.registry import Registry

__all__ = ["GAMMAS", "Gamma", "GammaLevels", "GammaValues", "Monotone", "schedule_of", "wide"]

#: The largest float32 below NETWORK_TIMES.
MAX_NETWORK_TIME = NETWORK_TIMES * (1 - 2**-24)
#: Steps of a sampler without `steps` in continuous time, where there is no number of all levels.
DEFAULT_SAMPLING_STEPS = 1000

Low: TypeAlias = Annotated[float, Interval(ge=-20, le=-2)]
High: TypeAlias = Annotated[float, Interval(ge=1, le=20)]


class GammaValues(NamedTuple):
    """Gamma and its derivative at some times; they depend on the schedule's shape through the tensors `inner` only."""

    gamma: Float[Tensor, " b"]
    slope: Float[Tensor, " b"]
    inner: tuple[Float[Tensor, " b"], Float[Tensor, " b"]]


@runtime_checkable
class Ends(Protocol):
    """Where a schedule starts, and how far it rises; `low` and `high` are the values that were set."""

    low: float
    high: float

    def __call__(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Start and rise, Float[], in the type and on the device of a tensor."""
        ...


class Gamma(nn.Module):
    """gamma(t) = start + rise s(t), with a shape s that rises from 0 to 1.  Source: Kingma et al. 2021, appendix H.

    `ends` is a module that gives start and rise; `shape` one that gives s(t) and its derivative.
    """

    def __init__(self, ends: Ends, shape: nn.Module) -> None:
        super().__init__()
        self.ends = ends
        self.shape = shape

    def forward(self, t: Float[Tensor, " b"]) -> GammaValues:
        """The schedule at times in [0, 1]."""
        start, rise = self.ends(t)
        s, rate = self.shape(t)
        return GammaValues(start + rise * s, rise * rate, (s, rate))

    def reach(self, like: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Gamma at t = 0 and at t = 1, in the type and on the device of a tensor; the shape does not change them."""
        start, rise = self.ends(like)
        return start, start + rise

    def network_time(self, gamma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The network's time input, in [0, 1000): linear in gamma between the ends that were set, constant beyond them.

        It does not depend on what is learnt.
        """
        share = (gamma - self.ends.low) / (self.ends.high - self.ends.low)
        return (NETWORK_TIMES * share).clamp(0, MAX_NETWORK_TIME)


#: Items take settings only.
GAMMAS: Registry[Callable[..., Gamma]] = Registry("learnable schedule", package="gensweep.diffusion")


@GAMMAS.register("linear")
def linear(*, gamma_min: Low = -13.3, gamma_max: High = 5.0) -> Gamma:
    """A line between two ends; nothing is learnt.  Source: Kingma et al. 2021 (ends: their model of CIFAR-10)."""
    return Gamma(FixedEnds(gamma_min, gamma_max), Line())


@GAMMAS.register("learned_linear")
def learned_linear(*, gamma_min: Low = -13.3, gamma_max: High = 5.0) -> Gamma:
    """A line whose two ends are learnt, from those given.  Source: Kingma et al. 2021."""
    return Gamma(LearnedEnds(gamma_min, gamma_max), Line())


@GAMMAS.register("monotone")
def monotone(
    *, gamma_min: Low = -13.3, gamma_max: High = 5.0, features: Annotated[int, Interval(ge=1, le=65_536)] = 1024
) -> Gamma:
    """A monotone network between two ends that are learnt too.  Source: Kingma et al. 2021, appendix H."""
    return Gamma(LearnedEnds(gamma_min, gamma_max), Monotone(features))


class FixedEnds(nn.Module):
    """Ends that stay as they were set."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, like: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Start and rise."""
        return like.new_full((), self.low), like.new_full((), self.high - self.low)


class LearnedEnds(nn.Module):
    """Ends that are learnt from the values that were set; the rise is a softplus, so it is positive."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.values = nn.Parameter(torch.tensor([low, _before_softplus(high - low)]))

    def forward(self, like: Tensor) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Start and rise."""
        start, rise = self.values.to(like).unbind()
        return start, F.softplus(rise)


class Line(nn.Module):
    """The shape s(t) = t."""

    def forward(self, t: Float[Tensor, " b"]) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """The time and its derivative."""
        return t, torch.ones_like(t)


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


class GammaLevels:
    """The levels of a schedule with its current weights, for samplers.

    In discrete time there are `timesteps` of them, at t = 1/timesteps, ..., 1; in continuous time (None) any number,
    from t = 0 to 1.
    """

    def __init__(self, gamma: Gamma, timesteps: int | None) -> None:
        self.gamma, self.timesteps = gamma, timesteps

    @torch.no_grad()
    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """The levels that a sampler visits; see `samplers.Levels`."""
        most = self.timesteps
        count = steps or most or DEFAULT_SAMPLING_STEPS
        if most is not None and count > most:
            raise ParameterError(
                "steps",
                f"1 <= steps <= timesteps must hold, but got steps={count}, timesteps={most}; "
                "take fewer steps, or more timesteps (None is continuous time)",
            )
        t = 1 - torch.linspace(0, 1, count, dtype=torch.float64)
        if most is not None:
            t = ((t * (most - 1)).round() + 1) / most
        device = next((parameter.device for parameter in self.gamma.parameters()), t.device)
        gamma: Tensor = self.gamma(t.float().to(device) if device.type == "mps" else t.to(device)).gamma
        return spaced((gamma.cpu().double() / 2).exp(), spacing)


def schedule_of(network: nn.Module) -> Gamma:
    """The schedule inside a network, whatever the network is wrapped in."""
    return next(module for module in network.modules() if isinstance(module, Gamma))


def wide(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """In double precision, or in single where the device has none."""
    return x.float() if x.device.type == "mps" else x.double()


def _before_softplus(value: float) -> float:
    return math.log(math.expm1(value))
