"""The Gaussian diffusion process: q(x_t | x_0) and the posterior of a step back.

Images x are (b, c, h, w) in [-1, 1]; steps t are (b,), counted from 0 (one step of noise) to timesteps - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.diffusion.parameterisations import NETWORK_TIMES
from gensweep.diffusion.samplers.sampler import Spacing
from gensweep.errors import ParameterError

T = TypeVar("T", float, Tensor)

#: rho of the noise levels.  Source: Karras et al. 2022, section 3.
KARRAS_RHO = 7.0


@dataclass(frozen=True)
class Posterior(Generic[T]):
    """q(x' | x, x_0) of a step from a noise level to a lower one: N(keep x + (1 - keep) x_0, small).

    `large` is the variance of a step without knowing x_0, beta.  All are for unscaled images, x_t / sqrt(alpha_bar_t).
    """

    keep: T
    small: T
    large: T


def posterior(now: T, after: T) -> Posterior[T]:
    """The step from level `now` to level `after`.  Source: Ho et al. 2020, eq. 6 and 7, and section 3.2."""
    keep = (after / now) ** 2
    return Posterior(keep, after**2 * (1 - keep), (1 + after**2) * (now**2 - after**2) / (1 + now**2))


def q_sample(
    x_0: Float[Tensor, "b c h w"],
    sigma: Float[Tensor, " b"],
    eps: Float[Tensor, "b c h w"],
    scale: Float[Tensor, "b 1 1 1"] | float = 1.0,
) -> Float[Tensor, "b c h w"]:
    """Diffuse x_0 to a noise level in one jump: scale (x_0 + sigma eps).

    With the scale sqrt(alpha_bar) it is x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps.
    Source: Ho et al. 2020, eq. 4.
    """
    return scale * x_0 + scale * sigma.view(-1, 1, 1, 1) * eps


class GaussianDiffusion:
    """q(x_t | x_0) = N(sqrt(alpha_bar_t) x_0, (1 - alpha_bar_t) I), for given alpha_bar.

    Tables are float64 until they meet an image.  Source: Ho et al. 2020.
    """

    def __init__(self, alpha_bar: Float64[Tensor, " t"]) -> None:
        self.timesteps = len(alpha_bar)
        self.alpha_bar = alpha_bar
        self.sigma = (1 - alpha_bar).sqrt() / alpha_bar.sqrt()
        before = torch.cat([torch.zeros(1, dtype=torch.float64), self.sigma[:-1]])
        step = posterior(self.sigma, before)
        # Tables of x_{t-1} itself, which is scaled by sqrt(alpha_bar_{t-1}).
        alpha_bar_before = 1 / (1 + before.square())
        self.posterior_x0 = (1 - step.keep) * alpha_bar_before.sqrt()
        self.log_beta = (step.large * alpha_bar_before).log()
        # The variance at t = 0 is 0; its logarithm is taken to be that of t = 1 (Nichol & Dhariwal 2021's code).
        variance = step.small * alpha_bar_before
        variance[0] = variance[1] if self.timesteps > 1 else step.large[0]
        self.posterior_log_variance = variance.log()
        self._moved: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def sigma_at(self, t: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Noise level of step t, relative to the image: sqrt((1 - alpha_bar) / alpha_bar), float32."""
        return self._table("sigma", torch.float32, t.device)[t]

    def network_time(self, sigma: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The network's time input for a level, in [0, 1000) whatever the number of timesteps.

        Timestep t is at 1000 t / timesteps; between timesteps the time is linear in the logarithm of the level, and
        beyond the first and the last it stays there.
        """
        table = self._table("sigma", sigma.dtype, sigma.device)
        above = torch.searchsorted(table, sigma).clamp(1, max(1, self.timesteps - 1))
        if self.timesteps == 1:
            return torch.zeros_like(sigma)
        low, high = table[above - 1].log(), table[above].log()
        t = above - 1 + ((sigma.log() - low) / (high - low)).clamp(0, 1)
        return t * (NETWORK_TIMES / self.timesteps)

    def sigmas(self, steps: int | None, spacing: Spacing = "time") -> list[float]:
        """The levels that a sampler visits; see `samplers.Levels`."""
        return spaced(self.sigma[self.respaced(steps)].flip(0), spacing)

    def respaced(self, steps: int | None) -> Int[Tensor, " s"]:
        """`steps` of the timesteps, evenly spaced and rising; None means all.

        The last timestep is always among them, and the first if steps > 1.
        Source: Nichol & Dhariwal 2021, section 4.
        """
        count = step_count(steps, self.timesteps)
        gaps = max(1, count - 1)
        return self.timesteps - 1 - (torch.arange(count).flip(0) * (self.timesteps - 1) + gaps // 2) // gaps

    def at(self, table: str, t: Int[Tensor, " b"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 1 1"]:
        """Entries t of a table, in the type and on the device of x, ready to be multiplied with it."""
        return self._table(table, x.dtype, x.device)[t].view(-1, 1, 1, 1)

    def _table(self, table: str, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " t"]:
        key = table, dtype, device
        if key not in self._moved:  # A table is moved once: to copy it at every step would make a GPU wait.
            self._moved[key] = getattr(self, table).to(dtype).to(device)
        return self._moved[key]


def step_count(steps: int | None, timesteps: int) -> int:
    """The steps of a sampler, by default all.  Raises ParameterError unless 1 <= steps <= timesteps."""
    count = timesteps if steps is None else steps
    if not 1 <= count <= timesteps:
        message = f"1 <= steps <= timesteps must hold, but got steps={count}, timesteps={timesteps}; "
        raise ParameterError("steps", message + "take fewer steps, or more timesteps")
    return count


def spaced(falling: Float64[Tensor, " count"], spacing: Spacing) -> list[float]:
    """Falling levels of a process at even times, or with another spacing between the same ends; then 0."""
    high, low, count = float(falling[0]), float(falling[-1]), len(falling)
    if spacing == "karras" and count > 1:
        falling = karras_sigmas(count, low, high)
    elif spacing == "log_snr" and count > 1:
        falling = torch.linspace(math.log(high), math.log(low), count, dtype=torch.float64).exp()
    return [*falling.tolist(), 0.0]


def karras_sigmas(count: int, low: float, high: float) -> Float64[Tensor, " count"]:
    """Levels from high to low, even in sigma^(1/rho).  Source: Karras et al. 2022, eq. 5."""
    ends = high ** (1 / KARRAS_RHO), low ** (1 / KARRAS_RHO)
    return torch.linspace(*ends, count, dtype=torch.float64) ** KARRAS_RHO
