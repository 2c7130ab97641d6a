"""Encoder and decoder of strided convolutions after DCGAN's plan, for images of 8 to 256 px."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.nn.dcgan import initialise, stage_widths
from gensweep.nn.layers import BatchNorm2d, DoublingConv2d, HalvingConv2d, MapToVector, VectorToMap
from gensweep.nn.networks import AUTOENCODERS, Autoencoder, ImageWidth, check_doubling_size


@AUTOENCODERS.register("conv")
def conv(
    channels: int,
    size: int,
    classes: int,
    latent: int,
    outputs: int | None = None,
    *,
    width: ImageWidth = 64,
) -> Autoencoder:
    """DCGAN's discriminator without its verdict, and its generator without tanh.

    A label is an embedding beside the latents, and in the encoder beside the first features.
    Source: Kingma & Welling 2014; Radford et al. 2016 (the plan).
    """
    check_doubling_size("conv", size)
    decoder = ConvolutionalDecoder(outputs or channels, size, classes, latent, width)
    encoder = ConvolutionalEncoder(channels, size, classes, latent, width)
    return Autoencoder(encoder.apply(initialise), decoder.apply(initialise))


class ConvolutionalEncoder(nn.Module):
    """Image and label to the means and log-variances of the latents, which begin near 0: close to the prior."""

    def __init__(self, channels: int, size: int, classes: int, latent: int, width: int) -> None:
        super().__init__()
        widths = stage_widths(size, width)
        self.first = HalvingConv2d(channels, widths[0])
        self.label = nn.Embedding(classes, widths[0]) if classes else None
        layers: list[nn.Module] = [nn.LeakyReLU(0.2, inplace=True)]
        for before, after in itertools.pairwise(widths):
            # A norm's own shift would undo a bias.
            layers += [HalvingConv2d(before, after, bias=False), BatchNorm2d(after)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.posterior = MapToVector(widths[-1], 2 * latent, 4)

    def forward(self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b outputs"]:
        """Labels are needed if the network has classes, and not looked at if it has none."""
        features = self.first(x)
        if self.label is not None:
            features = features + self.label(labels)[:, :, None, None]
        encoded: Tensor = self.posterior(self.layers(features))
        return encoded.flatten(1)


class ConvolutionalDecoder(nn.Module):
    """Latents and label to what is said of the pixels."""

    def __init__(self, outputs: int, size: int, classes: int, latent: int, width: int) -> None:
        super().__init__()
        widths = stage_widths(size, width)[::-1]
        self.label = nn.Embedding(classes, latent) if classes else None
        layers: list[nn.Module] = [VectorToMap(2 * latent if classes else latent, widths[0], 4, bias=False)]
        for before, after in itertools.pairwise(widths):
            layers += [BatchNorm2d(before), nn.ReLU(inplace=True)]
            layers += [DoublingConv2d(before, after, bias=False)]
        layers += [BatchNorm2d(widths[-1]), nn.ReLU(inplace=True), DoublingConv2d(widths[-1], outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "b latent"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b o h w"]:
        """Labels are needed if the network has classes, and not looked at if it has none."""
        if self.label is not None:
            z = torch.cat([z, self.label(labels)], dim=1)
        return self.layers(z[:, :, None, None])  # type: ignore[no-any-return]
