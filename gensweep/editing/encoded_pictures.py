"""Versions of an image, and frames between two, by the latents that a model encodes them as.

Images are in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.editing.interpolation import slerp
from gensweep.errors import ConfigError
from gensweep.families.family import Encoding
from gensweep.metrics.quantisation import to_uint8
from gensweep.noise import Noise

#: Indices of images (n,) -> the images (n, c, h, w), uint8.
Draw = Callable[[Tensor], Tensor]


def encoded_versions(
    family: Encoding, x_0: Float[Tensor, "c h w"], labels: Int[Tensor, " n"], seed: int, strength: float
) -> Draw:
    """Versions of an image: sqrt(1 - s^2) of what it is encoded as, under each label, and s of what samples have.

    At s = 0 it is encoded and decoded, nothing else.
    """
    network = family.networks[family.sampled]

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        noise, shown = Noise(seed, indices), labels[indices] if family.classes else None
        own = family.encode(network, x_0.expand(len(indices), -1, -1, -1), shown)
        latents = math.sqrt(1 - strength**2) * own + strength * family.prior(noise)
        return to_uint8(family.decode(network, latents, noise, shown))

    return draw


def encoded_frames(
    family: Encoding,
    ends: Float[Tensor, "2 c h w"],
    t: Float[Tensor, " n"],
    labels: Int[Tensor, " n"] | None,
    seed: int,
) -> Draw:
    """Frames from one image (t = 0) to another (t = 1), through the latents that they are encoded as.

    Raises ConfigError without a class that the model needs.
    """
    if family.classes and labels is None:
        raise ConfigError("this model encodes a picture as one of a class; name that of the frames with --class")
    network = family.networks[family.sampled]
    with torch.no_grad():
        a, b = family.encode(network, ends, None if labels is None else labels[:2])[:, :, None, None]

    @torch.no_grad()
    def draw(indices: Tensor) -> Tensor:
        latents = slerp(a, b, t[indices]).flatten(1)
        shown = None if labels is None else labels[indices]
        return to_uint8(family.decode(network, latents, Noise(seed, indices), shown))

    return draw
