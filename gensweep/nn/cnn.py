"""A denoiser at full resolution, a baseline for the U-Net."""

from __future__ import annotations

import itertools
from typing import Annotated

from annotated_types import doc
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.kernels import norm_act
from gensweep.nn.layers import Conditioning, group_norm, zero_initialised
from gensweep.nn.networks import DENOISERS, Count, DenoiserWidth, DropoutShare
from gensweep.nn.precision import in_full
from gensweep.nn.unet import ResidualBlock


@DENOISERS.register("cnn")
class CNN(nn.Module):
    """Plain convolutional denoiser: residual blocks at full resolution, dilated by 1, 2, 4, 8, 1, 2, ...

    No down-sampling and no attention: the dilations alone give it a wide view.  Blocks are twice as wide inside.
    With its defaults, at 32 px, it has 2.7 M parameters and 1.8 G multiply-adds; `unet` has 6.9 M
    and 1.5 G with its own defaults, and 3.0 M and 1.0 G with multipliers (1, 2) and 1 block.
    Source: Yu & Koltun 2016 (dilated convolutions); Kong et al. 2021 (a dilated denoiser).
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        outputs: int | None = None,
        *,
        width: DenoiserWidth = 64,
        depth: Annotated[Count, doc("residual blocks")] = 12,
        dropout: DropoutShare = 0.1,
    ) -> None:
        super().__init__()
        # Above half the image's size a dilated kernel covers hardly more than padding.
        dilations = [dilation for dilation in (1, 2, 4, 8) if dilation <= max(1, size // 4)]
        self.condition = Conditioning(width, classes)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            ResidualBlock(width, 2 * width, width, self.condition.features, dropout, dilation=dilation)
            for dilation in itertools.islice(itertools.cycle(dilations), depth)
        )
        self.last = nn.Sequential(
            group_norm(width),
            nn.SiLU(),
            zero_initialised(nn.Conv2d(width, channels if outputs is None else outputs, 3, padding=1)),
        )

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, "b *interval"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b outputs h w"]:
        """Predict from the noisy x at a time in [0, 1000); labels of None mean "no label"."""
        condition = self.condition(time, labels)
        x = self.first(x)
        for block in self.blocks:
            x = block(x, condition)
        norm, _, conv = self.last
        return in_full(conv, norm_act(x, norm))
