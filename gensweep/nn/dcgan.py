"""DCGAN, as in the PyTorch tutorial, and an autoencoder after its plan, for images of 8 to 256 px."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import torch
from annotated_types import doc
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.nn.layers import BatchNorm2d, DoublingConv2d, HalvingConv2d, MapToVector, VectorToMap
from gensweep.nn.networks import (
    ADVERSARIES,
    AUTOENCODERS,
    Adversaries,
    Autoencoder,
    ImageWidth,
    Width,
    check_doubling_size,
    spectrally_normalised,
)
from gensweep.nn.projection import (
    ConditionalBatchNorm2d,
    ProjectionDiscriminator,
    TimeProjection,
    batch_norm,
    normalised,
)

#: The tutorial's largest number of channels is 8 x width; larger images get more stages, not wider ones.
MAX_WIDTH_MULTIPLIER = 8
#: Norms between a discriminator's layers; spectral normalisation is not here, since it acts on weights.
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": BatchNorm2d, "layer": partial(nn.GroupNorm, 1)}


@ADVERSARIES.register("dcgan")
def dcgan(
    channels: int,
    size: int,
    classes: int,
    latent: int,
    timed: bool = False,
    *,
    width: ImageWidth = 64,
    discriminator_width: Annotated[Width | None, doc("the same of the discriminator; null: width")] = None,
    labels: Annotated[
        Literal["embedding", "batch_norm"],
        doc("how the generator gets a label: as an embedding beside the latent vector, or as scale and shift of norms"),
    ] = "embedding",
    discriminator_norm: Annotated[
        Literal["batch", "spectral", "layer", "none"],
        doc("between the discriminator's layers; with a gradient penalty not batch, so that it sees images one by one"),
    ] = "batch",
) -> Adversaries:
    """Strided convolutions with batch normalisation, 4 px up to the image's size in steps of two.

    Source: Radford et al. 2016; the PyTorch DCGAN tutorial; Miyato et al. 2018 and Gulrajani et al. 2017 (norms).
    """
    check_doubling_size("dcgan", size)
    generator = ConvolutionalDecoder(
        channels, size, classes, latent, width, in_norms=labels == "batch_norm", images=True
    )
    discriminator = DcganDiscriminator(channels, size, classes, discriminator_width or width, timed, discriminator_norm)
    generator.apply(initialise)
    discriminator.apply(initialise)
    if discriminator_norm == "spectral":
        spectrally_normalised(discriminator)
    return Adversaries(generator, discriminator)


class ConvolutionalDecoder(nn.Module):
    """Latent vector to maps of the image's size, or to an image in [-1, 1] by tanh.

    The label is an embedding beside the vector, or scale and shift of the batch norms.
    """

    def __init__(
        self,
        outputs: int,
        size: int,
        classes: int,
        latent: int,
        width: int,
        *,
        in_norms: bool = False,
        images: bool = False,
    ) -> None:
        super().__init__()
        widths = stage_widths(size, width)[::-1]
        self.label = nn.Embedding(classes, latent) if classes and not in_norms else None
        inputs = latent if self.label is None else 2 * latent
        layers: list[nn.Module] = [VectorToMap(inputs, widths[0], 4, bias=False)]
        for stage, (before, after) in enumerate(itertools.pairwise([*widths, outputs]), 1):
            layers += [batch_norm(before, classes if in_norms else 0), nn.ReLU(inplace=True)]
            layers += [DoublingConv2d(before, after, bias=stage == len(widths) and not images)]
        self.layers = nn.ModuleList([*layers, nn.Tanh()] if images else layers)

    def forward(self, z: Float[Tensor, "b latent"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b o h w"]:
        """Labels are needed if the network has classes, and not looked at if it has none."""
        if self.label is not None:
            z = torch.cat([z, self.label(labels)], dim=1)
        x = z[:, :, None, None]
        for layer in self.layers:
            x = normalised(layer, x, labels)
        return x


class DcganDiscriminator(ProjectionDiscriminator):
    """Image to logit; the features that are projected are summed over the pixels."""

    def __init__(self, channels: int, size: int, classes: int, width: int, timed: bool, norm: str) -> None:
        super().__init__()
        widths = stage_widths(size, width)
        layers: list[nn.Module] = [HalvingConv2d(channels, widths[0], bias=False), nn.LeakyReLU(0.2, inplace=True)]
        for before, after in itertools.pairwise(widths):
            # A norm's own shift would undo a bias.
            norms = [NORMS[norm](after)] if norm in NORMS else []
            layers += [HalvingConv2d(before, after, bias=not norms), *norms]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
        self.logit = MapToVector(widths[-1], 1, 4, bias=False)
        self.label = nn.Embedding(classes, widths[-1]) if classes else None
        self.time = TimeProjection(widths[-1]) if timed else None

    def forward(
        self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None, time: Float[Tensor, " b"] | None = None
    ) -> Float[Tensor, " b"]:
        """Logits of "real".  Labels are needed if the network has classes, times if it was built for them."""
        features = self.layers(x)
        return self.conditioned(self.logit(features).flatten(), features.sum(dim=(2, 3)), labels, time)


@AUTOENCODERS.register("conv")
def conv(
    channels: int, size: int, classes: int, latent: int, outputs: int | None = None, *, width: ImageWidth = 64
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


def stage_widths(size: int, width: int) -> list[int]:
    """Channels of the stages from next to the image down to 4 px."""
    return [width * min(2**stage, MAX_WIDTH_MULTIPLIER) for stage in range(size.bit_length() - 3)]


def initialise(module: nn.Module) -> None:
    """Weights of convolutions and embeddings from N(0, 0.02), of batch norms from N(1, 0.02); biases 0."""
    if isinstance(module, ConditionalBatchNorm2d):
        module.reset_labels()
    elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if not isinstance(module, nn.Embedding) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
