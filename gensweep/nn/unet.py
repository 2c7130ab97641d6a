"""Convolutional denoisers: the U-Net of DDPM with the refinements of its successors, and a plain one."""

from __future__ import annotations

import itertools
from typing import Annotated

import torch
from annotated_types import MinLen, doc
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.kernels import attend, norm_act, upsampling_conv
from gensweep.kernels.norm_act import Dropout
from gensweep.nn.layers import Conditioning, SameConv2d, group_norm, run_block, usual_heads, zero_initialised
from gensweep.nn.networks import DENOISERS, Checkpointing, Count, DenoiserWidth, DropoutShare, Width
from gensweep.nn.precision import in_full

#: Channel multipliers by the smallest image size, in pixels, that they hold for; one for each halving that is possible.
#: Source: Dhariwal & Nichol 2021, tables 4 and 12 (64 to 256 px).
CHANNEL_MULTIPLIERS = {256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4), 8: (1, 2, 2)}


@DENOISERS.register("unet")
class UNet(nn.Module):
    """U-Net: residual blocks with scale and shift by time and label, attention at chosen resolutions.

    Level i has width * multipliers[i] channels and half the resolution of the level before.
    Source: Ho et al. 2020, appendix B; Nichol & Dhariwal 2021, section 3 (scale and shift).
    """

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        outputs: int | None = None,
        *,
        width: DenoiserWidth = 64,
        multipliers: Annotated[
            Annotated[tuple[Count, ...], MinLen(1)] | None,
            doc(
                "channels of each level as multiples of width; null, by the size of the images: [1, 2, 2] below 64 px, "
                "[1, 2, 3, 4] from 64, [1, 1, 2, 3, 4] from 128, [1, 1, 2, 2, 4, 4] at 256"
            ),
        ] = None,
        blocks: Annotated[Count, doc("residual blocks of each level on the way down; one more on the way up")] = 2,
        attention: Annotated[
            tuple[Width, ...],
            doc("resolutions in pixels with attention; the middle has it too, unless this is empty"),
        ] = (16,),
        dropout: DropoutShare = 0.1,
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        predicted = outputs or channels
        levels = most_levels(size)
        if multipliers is None:
            multipliers = next((each for least, each in CHANNEL_MULTIPLIERS.items() if size >= least), (1,))[:levels]
        if len(multipliers) > levels:
            raise ConfigError(
                f"multipliers: {list(multipliers)} has {len(multipliers)} levels, but images of {size} px can be "
                f"halved {levels - 1} times; use at most {levels} multipliers or images of another size"
            )
        self.condition = Conditioning(width, classes)
        widths = [width * multiplier for multiplier in multipliers]

        def block(inputs: int, outputs: int, attends: bool) -> UNetBlock:
            return UNetBlock(inputs, outputs, self.condition.features, dropout, attends=attends)

        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, now, resolution = [width], width, size
        for level, outputs in enumerate(widths):
            if level:
                self.down.append(nn.Conv2d(now, now, 3, stride=2, padding=1))
                resolution //= 2
                skips.append(now)
            for _ in range(blocks):
                self.down.append(block(now, outputs, resolution in attention))
                now = outputs
                skips.append(now)
        self.middle = nn.ModuleList([block(now, now, bool(attention)), block(now, now, False)])
        for level, outputs in reversed(list(enumerate(widths))):
            for _ in range(blocks + 1):
                self.up.append(block(now + skips.pop(), outputs, resolution in attention))
                now = outputs
            if level:
                self.up.append(Upsample(now))
                resolution *= 2
        self.last = LastLayers(now, predicted)

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, "b *interval"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b outputs h w"]:
        """Predict from the noisy x at a time in [0, 1000); labels of None mean "no label"."""
        condition = self.condition(time, labels)
        x = self.first(x)
        skips = [x]
        for layer in self.down:
            x = self._through(layer, x, condition) if isinstance(layer, UNetBlock) else layer(x)
            skips.append(x)
        for layer in self.middle:
            x = self._through(layer, x, condition)
        for layer in self.up:
            x = self._through(layer, x, condition, skips.pop()) if isinstance(layer, UNetBlock) else layer(x)
        return self.last(x)  # type: ignore[no-any-return]

    def _through(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        return run_block(block, *inputs, checkpointing=self.checkpointing)


class ResidualBlock(nn.Module):
    """Two convolutions, with a scale and a shift by time and label between them; starts as its skip connection."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, features: int, dropout: float, *, dilation: int = 1
    ) -> None:
        super().__init__()
        self.enter = nn.Sequential(group_norm(inputs), nn.SiLU(), SameConv2d(inputs, hidden, dilation))
        self.norm = group_norm(hidden)
        self.scale_shift = nn.Linear(features, 2 * hidden)
        leave = zero_initialised(SameConv2d(hidden, outputs))
        self.leave = nn.Sequential(nn.SiLU(), Dropout(dropout), leave)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "b _ h w"], condition: Float[Tensor, "b f"]) -> Float[Tensor, "b d h w"]:
        """The images, changed as the condition says."""
        norm, _, conv = self.enter
        h = conv(norm_act(x, norm))
        _, dropout, conv = self.leave
        return self.skip(x) + conv(norm_act(h, self.norm, self.scale_shift(condition), dropout=dropout))  # type: ignore[no-any-return]


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
        self.last = LastLayers(width, outputs or channels)

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, "b *interval"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b outputs h w"]:
        """Predict from the noisy x at a time in [0, 1000); labels of None mean "no label"."""
        condition = self.condition(time, labels)
        x = self.first(x)
        for block in self.blocks:
            x = block(x, condition)
        return self.last(x)  # type: ignore[no-any-return]


class LastLayers(nn.Sequential):
    """Norm, activation and a convolution to the prediction; starts as 0."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(group_norm(width), nn.SiLU(), zero_initialised(nn.Conv2d(width, outputs, 3, padding=1)))

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b outputs h w"]:
        """The prediction."""
        norm, _, conv = self
        return in_full(conv, norm_act(input, norm))


class UNetBlock(ResidualBlock):
    """Residual block, then attention if asked for."""

    def __init__(self, inputs: int, outputs: int, features: int, dropout: float, *, attends: bool) -> None:
        super().__init__(inputs, outputs, outputs, features, dropout)
        self.attention = Attention(outputs) if attends else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b _ h w"], condition: Float[Tensor, "b f"], *beside: Float[Tensor, "b _ h w"]
    ) -> Float[Tensor, "b d h w"]:
        """Concatenates the channels of x and `beside`."""
        return self.attention(super().forward(torch.cat([x, *beside], dim=1) if beside else x, condition))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention over the pixels, in heads of up to 64 channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = usual_heads(channels)
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_initialised(nn.Linear(channels, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The input plus its self-attention."""
        b, c, h, w = x.shape
        pixels = norm_act(x, self.norm, act=False).permute(0, 2, 3, 1).reshape(b, h * w, c)
        attended = attend(self.qkv(pixels).view(b, h * w, 3, self.heads, c // self.heads)).reshape(b, h, w, c)
        return x + self.out(attended).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


class Upsample(nn.Conv2d):
    """Twice the resolution, by repeating pixels and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c i j"]:
        """Features of twice the height and width."""
        return upsampling_conv(input, self.weight, self.bias)


def most_levels(size: int) -> int:
    """One more than the times that the size can be halved."""
    return next(levels for levels in range(1, size + 1) if size % 2**levels or size == 2**levels)
