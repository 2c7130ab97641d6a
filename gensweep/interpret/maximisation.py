"""Activation maximisation: an image that raises chosen units most, and what a denoiser makes of it.

Shapes: n images, c channels (of images, or units of a layer), h = w pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gensweep.diffusion.sdedit import Below
from gensweep.families.family import Denoising
from gensweep.interpret.recording import recording
from gensweep.noise import Noise

#: The random stream of the noise over the image.
NOISE_STREAM = 0
#: The random stream of the first image.
IMAGE_STREAM = 1
#: The random stream of the first step's shift; step i takes that plus i.
SHIFT_STREAM = 16
#: Standard deviation of the first image (before tanh), which is close to grey.
INITIAL_CONTRAST = 0.1
#: Of Adam, for the image before tanh.
LEARNING_RATE = 0.1
#: Pixels by which a step shifts the image, down and to the right, at most either way.
MAX_SHIFT = 2


class Maximisation(NamedTuple):
    """An image in [-1, 1] for each seed, and activations along the direction: `before` of grey, `after` of the image.

    `noisy` is the image under the noise that it was made for, x = image + sigma eps; `start` is the same of grey.
    """

    image: Float[Tensor, "n c h w"]
    noisy: Float[Tensor, "n c h w"]
    start: Float[Tensor, "n c h w"]
    before: Float[Tensor, " n"]
    after: Float[Tensor, " n"]


def maximise(
    family: Denoising,
    layer: nn.Module,
    direction: Float[Tensor, " c"],
    noise: Noise,
    shape: tuple[int, int, int],
    sigma: float,
    *,
    steps: int = 60,
    smooth: float = 1.0,
    small: float = 0.1,
) -> Maximisation:
    """Find an image that under noise of level sigma, and without a label, raises units of a layer along a direction.

    Adam maximises direction @ units - `smooth` TV(image) - `small` mean(image^2), where units are means over pixels and
    TV is the total variation, the mean absolute difference of neighbours.  Each step shifts the image by some pixels,
    so that no single pixel matters.  The network is not changed.
    Source: Erhan et al. 2009; Mordvintsev et al. 2015 (jitter); Mahendran & Vedaldi 2015 (total variation).
    """
    denoise = family.denoise(family.networks[family.sampled], None)
    direction = direction.to(noise.samples.device, torch.float32)
    eps = noise.normal(*shape, stream=NOISE_STREAM)
    # One shift for all images, so that none depends on which others are made with it.
    shifts = Noise(noise.key, torch.zeros(1, dtype=torch.int64))

    def activation(image: Tensor) -> Tensor:
        with recording({"layer": layer}) as units:
            denoise(image + sigma * eps, sigma)
        return units["layer"] @ direction

    with torch.enable_grad():
        hidden = (INITIAL_CONTRAST * noise.normal(*shape, stream=IMAGE_STREAM)).requires_grad_()
        adam = torch.optim.Adam([hidden], LEARNING_RATE)
        for step in range(steps):
            image = hidden.tanh()
            shift = (shifts.integers(2 * MAX_SHIFT + 1, 2, stream=SHIFT_STREAM + step)[0] - MAX_SHIFT).tolist()
            cost = smooth * _variation(image) + small * image.square().mean(dim=(1, 2, 3))
            loss = (cost - activation(image.roll(shift, dims=(2, 3)))).sum()
            (hidden.grad,) = torch.autograd.grad(loss, hidden)
            adam.step()
    with torch.no_grad():
        image, grey = hidden.tanh(), torch.zeros_like(hidden)
        return Maximisation(image, image + sigma * eps, sigma * eps, activation(grey), activation(image))


@torch.no_grad()
def denoised_from(
    family: Denoising, noisy: Float[Tensor, "n c h w"], sigma: float, noise: Noise
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    """The x_0 predicted from noisy images of a level, without a label, and the images that the sampler draws."""
    denoise = family.denoise(family.networks[family.sampled], None)
    predicted = denoise(noisy, sigma).x_0
    return predicted, family.sampler(Below(family.process, sigma), denoise, lambda _: noisy, noise)


def _variation(image: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    return image.diff(dim=2).abs().mean(dim=(1, 2, 3)) + image.diff(dim=3).abs().mean(dim=(1, 2, 3))
