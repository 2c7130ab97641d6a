"""An image that drives chosen units as far as it can, and what a denoiser makes of it.

Shapes: n images, c channels (of images, or units of a layer), h = w pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gensweep.diffusion.editing import Below
from gensweep.families.family import Denoising
from gensweep.interpret.recording import recording
from gensweep.noise import Noise

__all__ = ["Dream", "denoised_from", "maximise"]

# Streams of randomness; those from SHIFT on are one a step.
EPS, IMAGE, SHIFT = 0, 1, 16
#: Of the image that the search begins with, which is next to grey.
FAINT = 0.1


class Dream(NamedTuple):
    """An image in [-1, 1] for each seed, and how far it drives the units, at first and in the end.

    `noisy` is the image under the noise that it was made for, x = image + sigma eps; `start` is the same of grey.
    """

    image: Float[Tensor, "n c h w"]
    noisy: Float[Tensor, "n c h w"]
    start: Float[Tensor, "n c h w"]
    before: Float[Tensor, " n"]
    after: Float[Tensor, " n"]


def maximise(
    family: Denoising,
    network: nn.Module,
    layers: Mapping[str, nn.Module],
    direction: Mapping[str, Float[Tensor, " c"]],
    noise: Noise,
    shape: tuple[int, int, int],
    sigma: float,
    *,
    steps: int = 60,
    rate: float = 0.1,
    smooth: float = 1.0,
    small: float = 0.1,
    jitter: int = 2,
) -> Dream:
    """Look for an image that under noise of level sigma, and without a label, drives units along a direction.

    Adam climbs the sum of direction times units (their means over pixels), less `smooth` times the image's total
    variation (mean absolute difference of neighbours) and `small` times its mean square.  In every step the image is
    moved by up to `jitter` pixels, so that no pixel counts by itself.  The network is not changed.
    Source: Erhan et al. 2009; Mordvintsev et al. 2015 (jitter); Mahendran & Vedaldi 2015 (total variation).
    """
    denoise = family.denoise(network, None)
    listened = {name: layers[name] for name in direction}
    device = noise.samples.device
    along = {name: weights.to(device, torch.float32) for name, weights in direction.items()}
    eps = noise.normal(*shape, stream=EPS)
    # All images move alike, or one would depend on which others are made with it.
    chance = Noise(noise.key, torch.zeros(1, dtype=torch.int64))

    def drive(image: Tensor) -> Tensor:
        with recording(listened) as units:
            denoise(image + sigma * eps, sigma)
        return torch.stack([units[name] @ weights for name, weights in along.items()]).sum(dim=0)

    with torch.enable_grad():
        hidden = (FAINT * noise.normal(*shape, stream=IMAGE)).requires_grad_()
        adam = torch.optim.Adam([hidden], rate)
        for step in range(steps):
            image = hidden.tanh()
            shift = (chance.integers(2 * jitter + 1, 2, stream=SHIFT + step)[0] - jitter).tolist()
            cost = smooth * _variation(image) + small * image.square().mean(dim=(1, 2, 3))
            loss = (cost - drive(image.roll(shift, dims=(2, 3)))).sum()
            (hidden.grad,) = torch.autograd.grad(loss, hidden)
            adam.step()
    with torch.no_grad():
        image, grey = hidden.tanh(), torch.zeros_like(hidden)
        return Dream(image, image + sigma * eps, sigma * eps, drive(grey), drive(image))


@torch.no_grad()
def denoised_from(
    family: Denoising, network: nn.Module, noisy: Float[Tensor, "n c h w"], sigma: float, noise: Noise
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    """What the network takes noisy images of a level for, without a label, and what its sampler makes of them."""
    denoise = family.denoise(network, None)
    seen = denoise(noisy, sigma).x_0
    return seen, family.sampler(Below(family.process, sigma), denoise, lambda _: noisy, noise)


def _variation(image: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    down, right = image.diff(dim=2).abs().mean(dim=(1, 2, 3)), image.diff(dim=3).abs().mean(dim=(1, 2, 3))
    return down + right
