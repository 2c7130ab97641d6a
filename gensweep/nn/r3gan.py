"""Residual networks of grouped convolutions without any normalisation, as in R3GAN, for images of 8 to 256 px."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, TypeVar

import torch
from annotated_types import doc
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.errors import ConfigError
from gensweep.nn.layers import zero_initialised
from gensweep.nn.networks import ADVERSARIES, Adversaries, Count, Width, check_doubling_size
from gensweep.nn.projection import ProjectionDiscriminator, TimeProjection

L = TypeVar("L", bound=nn.Conv2d | nn.Linear | nn.Embedding)

#: Blocks are wider inside by this factor.
EXPANSION = 2
#: Up to this side of a map, in pixels, it has the full width; each doubling beyond halves the channels.
FULL_WIDTH_PIXELS = 32
SLOPE = 0.2
#: Gain that preserves the variance of activations through a leaky ReLU.  Source: He et al. 2015, eq. 15.
GAIN = math.sqrt(2 / (1 + SLOPE**2))


@ADVERSARIES.register("r3gan")
def r3gan(
    channels: int,
    size: int,
    classes: int,
    latent: int,
    timed: bool = False,
    *,
    width: Annotated[Width, doc("channels of maps up to 32 px; halved with each doubling beyond")] = 768,
    discriminator_width: Annotated[Width | None, doc("the same of the discriminator; null: width")] = None,
    depth: Annotated[Count, doc("residual blocks at each resolution")] = 2,
    group_channels: Annotated[Width, doc("channels of a group inside of a block, which is twice as wide")] = 16,
) -> Adversaries:
    """Residual blocks of 1x1, grouped 3x3 and 1x1 convolutions, bilinear resampling, and no normalisation.

    With its defaults and 32 px these are the networks of the paper for CIFAR-10.  They are made for the loss
    `relativistic` with the penalty `r1_r2`.  Raises ConfigError if the groups do not divide the channels.
    Source: Huang et al. 2024 (R3GAN), Config E; Zhang et al. 2019 (Fixup initialisation).
    """
    check_doubling_size("r3gan", size)
    judge = width if discriminator_width is None else discriminator_width
    for name, each in (("width", width), ("discriminator_width", judge)):
        _check_groups(name, each, group_channels, size)
    return Adversaries(
        R3ganGenerator(channels, size, classes, latent, width, depth, group_channels),
        R3ganDiscriminator(channels, size, classes, judge, depth, group_channels, timed),
    )


class R3ganGenerator(nn.Module):
    """Latent vector, beside which stands the embedding of the label, to image, doubled in size from 4 px."""

    def __init__(
        self, channels: int, size: int, classes: int, latent: int, width: int, depth: int, group_channels: int
    ) -> None:
        super().__init__()
        widths = stage_widths(size, width)
        self.label = _normal(nn.Embedding(classes, latent), fan_in=classes) if classes else None
        self.first = _normal(nn.Linear(latent if self.label is None else 2 * latent, width, bias=False))
        self.basis = nn.Parameter(torch.randn(width, 4, 4))
        layers: list[nn.Module] = [Block(width, group_channels, depth * len(widths)) for _ in range(depth)]
        for stage, (before, after) in enumerate(itertools.pairwise(widths)):
            layers.append(Resampling(before, after, 4 << stage, doubles=True))
            layers += [Block(after, group_channels, depth * len(widths)) for _ in range(depth)]
        self.layers = nn.Sequential(*layers, _normal(nn.Conv2d(widths[-1], channels, 1, bias=False)))

    def forward(self, z: Float[Tensor, "b latent"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b c h w"]:
        """Images, clipped to [-1, 1] in evaluation mode only.

        Labels are needed if the network has classes, and not looked at if it has none.
        """
        if self.label is not None:
            z = torch.cat([z, self.label(labels)], dim=1)
        x: Tensor = self.layers(self.basis * self.first(z)[:, :, None, None])
        return x if self.training else x.clamp(-1, 1)


class R3ganDiscriminator(ProjectionDiscriminator):
    """Image, halved in size down to 4 px, to logit; with classes, it is the product of features and label alone."""

    def __init__(
        self, channels: int, size: int, classes: int, width: int, depth: int, group_channels: int, timed: bool
    ) -> None:
        super().__init__()
        widths = stage_widths(size, width)
        layers: list[nn.Module] = [_normal(nn.Conv2d(channels, widths[-1], 1, bias=False))]
        for stage, (after, before) in reversed(list(enumerate(itertools.pairwise(widths)))):
            layers += [Block(before, group_channels, depth * len(widths)) for _ in range(depth)]
            layers.append(Resampling(before, after, 4 << stage, doubles=False))
        layers += [Block(width, group_channels, depth * len(widths)) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.randn(width, 4, 4) / 4)
        self.features = _normal(nn.Linear(width, width if classes else 1, bias=False))
        self.label = _normal(nn.Embedding(classes, width), fan_in=classes * width) if classes else None
        self.time = TimeProjection(width) if timed else None

    def forward(
        self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None, time: Float[Tensor, " b"] | None = None
    ) -> Float[Tensor, " b"]:
        """Logits of "real".  Labels are needed if the network has classes, times if it was built for them."""
        pooled = (self.basis * self.layers(x)).sum(dim=(2, 3))
        features = self.features(pooled)
        if self.label is None:
            return self.conditioned(features.flatten(), pooled, labels, time)
        return self.conditioned(features.new_zeros(len(features)), features, labels, time)


class Block(nn.Module):
    """Residual block, 1x1, grouped 3x3, 1x1, which starts as its skip connection; `blocks` of them are in a network.

    First weights are smaller the more blocks there are, by L^(-1/(2m - 2)) for L blocks of m = 3 layers.
    Source: Zhang et al. 2019; Huang et al. 2024 (R3GAN).
    """

    def __init__(self, width: int, group_channels: int, blocks: int) -> None:
        super().__init__()
        inside, gain = EXPANSION * width, GAIN * blocks ** (-1 / 4)
        self.enter = _normal(nn.Conv2d(width, inside, 1), gain)
        self.grouped = _normal(nn.Conv2d(inside, inside, 3, padding=1, groups=inside // group_channels), gain)
        self.leave = zero_initialised(nn.Conv2d(inside, width, 1, bias=False))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features of the same shape."""
        h = F.leaky_relu(self.enter(x), SLOPE)
        return x + self.leave(F.leaky_relu(self.grouped(h), SLOPE))  # type: ignore[no-any-return]


class Resampling(nn.Module):
    """Doubles or halves the side of maps, bilinearly; the smaller of two maps, of `pixels`, has its channels changed.

    Both sides are multiplied by a matrix, since a CPU is several times as fast at that as at pooling or transposed
    convolutions with this filter, second derivatives included.
    """

    matrix: Tensor

    def __init__(self, inputs: int, outputs: int, pixels: int, *, doubles: bool) -> None:
        super().__init__()
        self.doubles = doubles
        matrix = bilinear(pixels)
        self.register_buffer("matrix", matrix if doubles else matrix.T.contiguous() / 2, persistent=False)
        self.change = nn.Identity() if inputs == outputs else _normal(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """Features of another size."""
        x = self.change(x) if self.doubles else x
        b, c, h, w = x.shape
        rows = self.matrix @ x.permute(0, 2, 3, 1).reshape(b, h, w * c)
        x = (self.matrix @ rows.view(b, -1, w, c)).permute(0, 3, 1, 2)
        return x if self.doubles else self.change(x)


def bilinear(pixels: int) -> Float[Tensor, "m n"]:
    """The matrix that doubles a row of pixels, with zeros outside; its transpose, halved, halves one.

    It is a convolution with (1, 3, 3, 1) / 4 of the pixels with zeros between them.
    """
    matrix = torch.zeros(2 * pixels + 2, pixels)
    for i in range(pixels):
        matrix[2 * i : 2 * i + 4, i] = torch.tensor([0.25, 0.75, 0.75, 0.25])
    return matrix[1:-1]


def stage_widths(size: int, width: int) -> list[int]:
    """Channels of the maps of 4 px, 8 px and so on up to the image's size."""
    return [width // max(1, (4 << stage) // FULL_WIDTH_PIXELS) for stage in range(size.bit_length() - 2)]


def _check_groups(name: str, width: int, group_channels: int, size: int) -> None:
    step = group_channels // math.gcd(group_channels, EXPANSION) * max(1, size // FULL_WIDTH_PIXELS)
    if width % step:
        raise ConfigError(
            f"r3gan: groups of {group_channels} channels do not divide 2 x width for a {name} of {width} and "
            f"images of {size} px; use a multiple of {step}, or other group_channels"
        )


def _normal(layer: L, gain: float = 1.0, fan_in: int | None = None) -> L:
    """Weights from N(0, gain^2 / fan_in), biases 0."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in or layer.weight[0].numel()))
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
