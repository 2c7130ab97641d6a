"""The networks that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from gensweep.registry import Registry

__all__ = ["ADVERSARIES", "DENOISERS", "Adversaries"]


class Adversaries(NamedTuple):
    """The two networks of a GAN.

    generator(z: Float[b latent], labels: Int[b] | None) -> images in [-1, 1], Float[b c h w];
    discriminator(images: Float[b c h w], labels: Int[b] | None) -> logits, Float[b].
    """

    generator: nn.Module
    discriminator: nn.Module


#: Items take (channels, size, classes, outputs), where classes = 0 means unconditional and outputs = None as many
#: channels out as in, and give a module with
#: forward(x: Float[b channels h w], time: Float[b], labels: Int[b] | None) -> Float[b outputs h w].  Time is in
#: [0, 1000) whatever the number of timesteps.  Label `classes`, one more than the last, stands for "no label".
DENOISERS: Registry[Callable[..., nn.Module]] = Registry("network", package="gensweep.nn")

#: Items take (channels, size, classes, latent).
ADVERSARIES: Registry[Callable[..., Adversaries]] = Registry("GAN network", package="gensweep.nn")
