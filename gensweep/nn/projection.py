"""How labels and times enter generators and discriminators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.nn.layers import BatchNorm2d

#: Frequencies of the time embedding; each gives a cosine and a sine.
TIME_FREQUENCIES = 32


class ConditionalBatchNorm2d(BatchNorm2d):
    """Batch normalisation with a scale and a shift for each class.

    Scales begin near 1, a little apart from class to class.  Source: Dumoulin et al. 2017; Miyato & Koyama 2018.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, affine=False)
        self.label_scale = nn.Embedding(classes, channels)
        self.label_shift = nn.Embedding(classes, channels)
        self.reset_labels()

    def reset_labels(self) -> None:
        """Scales from N(1, 0.02), shifts 0."""
        nn.init.normal_(self.label_scale.weight, 1.0, 0.02)
        nn.init.zeros_(self.label_shift.weight)

    def forward(
        self, input: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """The images, normalised, then scaled and shifted by their labels."""
        x = super().forward(input)
        scale, shift = self.label_scale(labels), self.label_shift(labels)
        return torch.addcmul(shift[:, :, None, None].to(x.dtype), x, scale[:, :, None, None].to(x.dtype))


def batch_norm(channels: int, classes: int) -> BatchNorm2d:
    """Batch normalisation that the label sets, or a plain one if there are no classes."""
    return ConditionalBatchNorm2d(channels, classes) if classes else BatchNorm2d(channels)


def normalised(norm: nn.Module, x: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None) -> Tensor:
    """The layer's output; a conditional batch norm also gets the labels."""
    y: Tensor = norm(x, labels) if isinstance(norm, ConditionalBatchNorm2d) else norm(x)
    return y


class TimeProjection(nn.Module):
    """The product of features (b, f) with an embedding of a time in [0, 1000], summed: how real, for that much noise.

    Source: Wang et al. 2022, section 3.1 (the discriminator sees t); Miyato & Koyama 2018 (projection).
    """

    frequencies: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        frequencies = torch.exp(
            -math.log(10_000) * torch.arange(TIME_FREQUENCIES, dtype=torch.float64) / TIME_FREQUENCIES
        )
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.embed = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, features), nn.SiLU(), nn.Linear(features, features))

    def forward(self, features: Float[Tensor, "b f"], time: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The term added to the logits."""
        angles = time.float()[:, None] * self.frequencies
        embedded = self.embed(torch.cat([angles.cos(), angles.sin()], dim=1))
        return (embedded * features).sum(dim=1) / math.sqrt(features.shape[1])  # type: ignore[no-any-return]


class ProjectionDiscriminator(nn.Module):
    """A discriminator whose logits get the product of features with embeddings of the label and of the time, if any.

    Source: Miyato & Koyama 2018.
    """

    label: nn.Module | None
    time: TimeProjection | None
    #: Layers whose outputs are multiplied by the features and summed, and the power of the width by which sums grow.
    summed: ClassVar[Mapping[str, float]] = {"label": 1.0, "time.embed.2": 0.5}

    def conditioned(
        self,
        logits: Float[Tensor, " b"],
        features: Float[Tensor, "b f"],
        labels: Int[Tensor, " b"] | None,
        time: Float[Tensor, " b"] | None,
    ) -> Float[Tensor, " b"]:
        """The logits for these labels and times, which are needed if the network has such parts."""
        if self.label is not None:
            logits = logits + (self.label(labels) * features).sum(dim=1)
        if self.time is not None:
            logits = logits + self.time(features, time)
        return logits
