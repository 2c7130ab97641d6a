"""The predictions of a denoiser on the way from noise to image, at every level.

Shapes: n images, h = w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.diffusion.sdedit import edit
from gensweep.families.family import Denoising
from gensweep.noise import Noise

T = TypeVar("T")


class PathStep(NamedTuple):
    """One noise level of the path: the noisy images x = x_0 + sigma eps, and the x_0 predicted from them."""

    sigma: float
    x: Float[Tensor, "n c h w"]
    x_0: Float[Tensor, "n c h w"]


@torch.no_grad()
def record_path(
    family: Denoising, noise: Noise, labels: Int[Tensor, " n"] | None, shape: tuple[int, int, int]
) -> tuple[list[PathStep], Float[Tensor, "n c h w"]]:
    """The steps of the family's own sampler, from the highest level down, and the images that come out.

    Of a level that the sampler visits twice, the last visit is kept.
    """
    steps: dict[float, PathStep] = {}
    denoise = family.denoise(family.networks[family.sampled], labels)

    def recorded(x: Tensor, sigma: float, *until: float) -> Tensor:
        x_0 = denoise(x, sigma, *until)
        steps[sigma] = PathStep(sigma, x.clone(), x_0.clone())
        return x_0

    grey = torch.zeros(shape, device=noise.samples.device)
    images = edit(family.process, family.sampler, recorded, noise, grey, strength=1.0)
    return sorted(steps.values(), key=lambda step: -step.sigma), images


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, the first and last among them."""
    indices = torch.linspace(0, len(items) - 1, min(count, len(items))).round().long()
    return [items[index] for index in indices.tolist()]
