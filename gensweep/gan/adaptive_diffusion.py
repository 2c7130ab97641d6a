"""Diffusion of real and fake images, with a length that follows the overfitting of the discriminator."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Interval, doc
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.diffusion.schedules import SCHEDULES, Schedule
from gensweep.errors import ConfigError
from gensweep.gan.augmentation import AdaptationImages, AdaptationInterval, Adaptive, Augmented, SignTarget
from gensweep.noise import Noise
from gensweep.registry import Choice

#: Share of the images that the discriminator sees without noise.
SHARE_WITHOUT_NOISE = 0.5
#: The discriminator's time input is scaled to 0 .. this, for any number of timesteps.
MAX_DISCRIMINATOR_TIME = 1000


class AdaptiveDiffusion(Adaptive):
    """Half of the images are diffused to timesteps 1..T, where T follows the overfitting of the discriminator.

    T = shortest + round(p (longest - shortest)).  Every `interval` batches p rises if the mean sign of the real logits
    is above `target`, else it falls, at a rate that takes `images` images from 0 to 1.  An image becomes
    sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise_std eps.  A timestep has the same noise for any T; the authors' code
    stretches the betas over the current T, so the discriminator must relearn the meaning of a time.  Raises ConfigError
    if longest < shortest.  Source: Wang et al. 2022, sections 3.1 to 3.3.
    """

    timed = True
    alpha_bar: Tensor

    def __init__(
        self,
        *,
        schedule: Annotated[Schedule, Choice(SCHEDULES, "linear"), doc("share of the image left at each timestep")],
        shortest: Annotated[int, Ge(1), doc("timesteps at the start, T_min")] = 10,
        longest: Annotated[int, Interval(ge=2, le=100_000), doc("timesteps at most, T_max")] = 1000,
        times: Annotated[
            Literal["priority", "uniform"],
            doc("priority: later timesteps more often, p(t) ~ t - 1; uniform: all equally often"),
        ] = "priority",
        noise_std: Annotated[float, Interval(gt=0, le=1), doc("standard deviation of the noise, sigma")] = 0.05,
        target: SignTarget = 0.6,
        images: AdaptationImages = 100_000,
        interval: AdaptationInterval = 4,
    ) -> None:
        if longest < shortest:
            raise ConfigError(f"shortest <= longest must hold, but got shortest={shortest}, longest={longest}")
        super().__init__(target, images, interval)
        self.shortest, self.longest, self.times, self.noise_std = shortest, longest, times, noise_std
        # A buffer on the training device: copying it in every step would make a GPU wait.
        alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), schedule(longest)])
        self.register_buffer("alpha_bar", alpha_bar, persistent=False)

    @property
    def length(self) -> Float[Tensor, ""]:
        """T, a whole number, on the device of p."""
        return self.shortest + (self.probability * (self.longest - self.shortest)).round()

    def forward(self, images: Float[Tensor, "b c h w"], noise: Noise, stream: int) -> Augmented:
        """Noisy images, and how noisy each is."""
        u = noise.uniform(2, stream=stream)
        t = timestep(u[:, 1], self.length.to(u.device), priority=self.times == "priority")
        t = torch.where(u[:, 0] < SHARE_WITHOUT_NOISE, 0, t)
        eps = noise.normal(*images.shape[1:], stream=stream + 1)
        return Augmented(self.diffuse(images, t, eps), t.float() * (MAX_DISCRIMINATOR_TIME / self.longest))

    def diffuse(
        self, images: Float[Tensor, "b c h w"], t: Int[Tensor, " b"], eps: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Images at timesteps 0 (as they are) to `longest`."""
        alpha_bar = self.alpha_bar[t].view(-1, 1, 1, 1)
        return alpha_bar.sqrt().float() * images + ((1 - alpha_bar).sqrt() * self.noise_std).float() * eps

    def signals(self) -> dict[str, Tensor]:
        """T."""
        return {"diffusion_length": self.length}


def timestep(u: Float[Tensor, " b"], length: Float[Tensor, ""], *, priority: bool) -> Int[Tensor, " b"]:
    """Timesteps 1..length by inversion, for u uniform in [0, 1): each equally likely, or p(t) proportional to t - 1.

    Source: Wang et al. 2022, section 3.3 (the priority).
    """
    last = length.double()
    # 1 - u is never 0, so the first timestep, whose priority is 0, is drawn only if there is no other.
    rest: Float64[Tensor, " b"] = 1 - u.double()
    t = ((1 + (1 + 4 * rest * last * (last - 1)).sqrt()) / 2).ceil() if priority else (rest * last).ceil()
    return torch.minimum(t, last).long()
