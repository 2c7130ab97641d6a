"""Residual generator and discriminator, as in SNGAN, for images of 8 to 256 px and with optional class labels."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Interval, doc
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.nn.layers import SameConv2d
from gensweep.nn.networks import ADVERSARIES, Adversaries, Width, check_doubling_size, spectrally_normalised
from gensweep.nn.projection import ProjectionDiscriminator, TimeProjection, batch_norm, normalised

#: The discriminator halves its feature maps down to this side, in pixels ...
SMALLEST_MAP_PIXELS = 8
#: ... and ends with this number of blocks at that size, times `depth`.
BLOCKS_ON_SMALLEST_MAP = 2


@ADVERSARIES.register("sngan")
def sngan(
    channels: int,
    size: int,
    classes: int,
    latent: int,
    timed: bool = False,
    *,
    width: Annotated[Width, doc("channels of the generator")] = 256,
    discriminator_width: Annotated[Width, doc("channels of the discriminator")] = 128,
    depth: Annotated[int, Interval(ge=1, le=8), doc("residual blocks at each resolution")] = 1,
    discriminator_norm: Annotated[Literal["spectral", "none"], doc("norm of the discriminator's weights")] = "spectral",
) -> Adversaries:
    """Residual blocks of equal width at every resolution, conditional batch norm, projection and spectral norm.

    With its defaults and 32 px these are the networks of the paper for CIFAR-10.
    Source: Miyato et al. 2018, table 4 (32 px); Miyato & Koyama 2018 (labels).
    """
    check_doubling_size("sngan", size)
    generator = SnganGenerator(channels, size, classes, latent, width, depth)
    discriminator = SnganDiscriminator(channels, size, classes, discriminator_width, depth, timed)
    if discriminator_norm == "spectral":
        spectrally_normalised(discriminator)
    return Adversaries(generator, discriminator)


class SnganGenerator(nn.Module):
    """Latent vector to image, doubled in size block by block from 4 px; the label sets the batch norms."""

    def __init__(self, channels: int, size: int, classes: int, latent: int, width: int, depth: int) -> None:
        super().__init__()
        self.width = width
        self.first = initialised(nn.Linear(latent, 4 * 4 * width), 1.0)
        stages = size.bit_length() - 3
        self.blocks = nn.ModuleList(
            UpBlock(width, classes, doubles=block == 0) for _ in range(stages) for block in range(depth)
        )
        self.norm = batch_norm(width, 0)
        self.last = initialised(nn.Conv2d(width, channels, 3, padding=1), 1.0)

    def forward(self, z: Float[Tensor, "b latent"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1].  Labels are needed if the network has classes, and not looked at if it has none."""
        x = self.first(z).view(-1, self.width, 4, 4)
        for block in self.blocks:
            x = block(x, labels)
        return torch.tanh(self.last(F.relu(self.norm(x))))


class UpBlock(nn.Module):
    """Residual block of the generator, which doubles the size if asked to."""

    def __init__(self, width: int, classes: int, *, doubles: bool) -> None:
        super().__init__()
        self.scale = 2 if doubles else 1
        self.norms = nn.ModuleList(batch_norm(width, classes) for _ in range(2))
        # The paper's layers have biases, though the batch norms that follow take them away again.
        self.enter = initialised(SameConv2d(width, width), math.sqrt(2))
        self.leave = initialised(SameConv2d(width, width), math.sqrt(2))
        self.skip = initialised(nn.Conv2d(width, width, 1), 1.0) if doubles else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None) -> Float[Tensor, "b c i j"]:
        """Features of the same or twice the height and width."""
        h = self._enlarged(F.relu(normalised(self.norms[0], x, labels)))
        h = self.leave(F.relu(normalised(self.norms[1], self.enter(h), labels)))
        return h + self._enlarged(self.skip(x))  # type: ignore[no-any-return]

    def _enlarged(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        return F.interpolate(x, scale_factor=float(self.scale), mode="nearest") if self.scale > 1 else x


class SnganDiscriminator(ProjectionDiscriminator):
    """Image to logit, halved in size block by block to 8 px.  Source: Miyato et al. 2018, table 4."""

    def __init__(self, channels: int, size: int, classes: int, width: int, depth: int, timed: bool) -> None:
        super().__init__()
        halvings = max(0, (size // SMALLEST_MAP_PIXELS).bit_length() - 1)
        halves = [halving and block == 0 for halving in [True] * halvings for block in range(depth)]
        halves += [False] * (BLOCKS_ON_SMALLEST_MAP * depth)
        blocks = [DownBlock(channels, width, halves=halves[0], first=True)]
        blocks += [DownBlock(width, width, halves=each, first=False) for each in halves[1:]]
        self.blocks = nn.ModuleList(blocks)
        self.logit = initialised(nn.Linear(width, 1), 1.0)
        self.label = initialised(nn.Embedding(classes, width), 1.0) if classes else None
        self.time = TimeProjection(width) if timed else None

    def forward(
        self, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None, time: Float[Tensor, " b"] | None = None
    ) -> Float[Tensor, " b"]:
        """Logits of "real".  Labels are needed if the network has classes, times if it was built for them."""
        for block in self.blocks:
            x = block(x)
        features = F.relu(x).sum(dim=(2, 3))
        return self.conditioned(self.logit(features).flatten(), features, labels, time)


class DownBlock(nn.Module):
    """Residual block of the discriminator, which halves the size if asked to; the first begins without a ReLU."""

    def __init__(self, inputs: int, outputs: int, *, halves: bool, first: bool) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.enter = initialised(SameConv2d(inputs, outputs), math.sqrt(2))
        self.leave = initialised(SameConv2d(outputs, outputs), math.sqrt(2))
        learns = halves or inputs != outputs
        self.skip = initialised(nn.Conv2d(inputs, outputs, 1), 1.0) if learns else nn.Identity()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """Features of the same or half the height and width."""
        h = self.leave(F.relu(self.enter(x if self.first else F.relu(x))))
        if not self.halves:
            return h + self.skip(x)  # type: ignore[no-any-return]
        # A 1x1 convolution and a mean of pixels may change places: the smaller map is convolved.
        return F.avg_pool2d(h, 2) + self.skip(F.avg_pool2d(x, 2))  # type: ignore[no-any-return]


def initialised(module: nn.Conv2d | nn.Linear | nn.Embedding, gain: float) -> nn.Module:
    """Weights by Glorot's rule with a gain, biases 0."""
    nn.init.xavier_uniform_(module.weight, gain)
    if not isinstance(module, nn.Embedding) and module.bias is not None:
        nn.init.zeros_(module.bias)
    return module
