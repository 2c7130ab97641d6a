"""DCGAN, as in the PyTorch tutorial, for images of 8 to 256 px and with optional class labels."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.nn.layers import BatchNorm2d
from gensweep.nn.networks import ADVERSARIES, Adversaries

__all__ = ["Discriminator", "Generator", "dcgan"]

SIZES = (8, 16, 32, 64, 128, 256)
#: The tutorial's largest number of channels, in widths; larger images get more stages, not wider ones.
WIDEST = 8


@ADVERSARIES.register("dcgan")
def dcgan(
    channels: int,
    size: int,
    classes: int,
    latent: int,
    *,
    width: Annotated[int, Field(ge=1)] = 64,
    discriminator_width: Annotated[int, Field(ge=1)] | None = None,
) -> Adversaries:
    """Strided convolutions with batch normalisation, 4 px up to the image's size in steps of two.

    Width is the number of channels next to the image; the discriminator's is the same unless given.
    Source: Radford et al. 2016; the PyTorch DCGAN tutorial.
    """
    if size not in SIZES:
        raise ConfigError(f"dcgan: images of {size} px are not supported; use one of {', '.join(map(str, SIZES))}")
    generator = Generator(channels, size, classes, latent, width)
    discriminator = Discriminator(channels, size, classes, discriminator_width or width)
    return Adversaries(generator.apply(initialise), discriminator.apply(initialise))


class Generator(nn.Module):
    """Latent vector, and an embedding of the label beside it, to image."""

    def __init__(self, channels: int, size: int, classes: int, latent: int, width: int) -> None:
        super().__init__()
        widths = stage_widths(size, width)[::-1]
        self.label = nn.Embedding(classes, latent) if classes else None
        inputs = 2 * latent if classes else latent
        layers: list[nn.Module] = [nn.ConvTranspose2d(inputs, widths[0], 4, 1, 0, bias=False)]
        for before, after in itertools.pairwise(widths):
            layers += [BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
        layers += [BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "b latent"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1].  Labels are needed if the network has classes, and not looked at if it has none."""
        if self.label is not None:
            if labels is None:
                raise ValueError("a class-conditional generator needs labels")
            z = torch.cat([z, self.label(labels)], dim=1)
        return self.layers(z[:, :, None, None])  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """Image to logit; a label adds the product of its embedding with the features, summed over the pixels.

    Source: Miyato & Koyama 2018 (projection discriminator).
    """

    def __init__(self, channels: int, size: int, classes: int, width: int) -> None:
        super().__init__()
        widths = stage_widths(size, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), BatchNorm2d(after)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.logit = nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)
        self.label = nn.Embedding(classes, widths[-1]) if classes else None

    def forward(self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, " b"]:
        """Logits of "real".  Labels are needed if the network has classes, and not looked at if it has none."""
        features = self.layers(x)
        logits = self.logit(features).flatten()
        if self.label is not None:
            if labels is None:
                raise ValueError("a class-conditional discriminator needs labels")
            logits = logits + (self.label(labels) * features.sum(dim=(2, 3))).sum(dim=1)
        return logits  # type: ignore[no-any-return]


def stage_widths(size: int, width: int) -> list[int]:
    """Channels of the stages from next to the image down to 4 px."""
    return [width * min(2**stage, WIDEST) for stage in range(size.bit_length() - 3)]


def initialise(module: nn.Module) -> None:
    """Weights of convolutions and embeddings from N(0, 0.02), of batch norms from N(1, 0.02); biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
