"""Layers that several networks share; convolutions with the parameters of PyTorch's, computed faster on a CPU."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gensweep.kernels import doubling_conv, halving_conv, same_conv
from gensweep.kernels.library import is_plain


class SameConv2d(nn.Conv2d):
    """A convolution of 3 x 3 pixels that lie `dilation` apart; images keep their size."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, 3, padding=dilation, dilation=dilation)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The images, convolved."""
        return same_conv(input, self.weight, self.bias, self.dilation[0])


class HalvingConv2d(nn.Conv2d):
    """A convolution of 4 x 4 pixels to half of the images' height and width."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d i j"]:
        """The images, convolved."""
        return halving_conv(input, self.weight, self.bias)


class DoublingConv2d(nn.ConvTranspose2d):
    """A transposed convolution of 4 x 4 pixels to twice the images' height and width."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 4, stride=2, padding=1, bias=bias)

    def forward(
        self, input: Float[Tensor, "b c h w"], output_size: list[int] | None = None
    ) -> Float[Tensor, "b d i j"]:
        """The images, convolved."""
        return doubling_conv(input, self.weight, self.bias)


class VectorToMap(nn.ConvTranspose2d):
    """A vector for each image becomes a map as large as the kernel: a matrix product, which PyTorch does not see."""

    def forward(
        self, input: Float[Tensor, "b c 1 1"], output_size: list[int] | None = None
    ) -> Float[Tensor, "b d h w"]:
        """The maps, in the layout of the weights."""
        if not is_plain(input) or not self.weight.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input, output_size)
        products = input.flatten(1) @ self.weight.permute(0, 2, 3, 1).flatten(1)
        maps: Tensor = products.view(len(input), *self.kernel_size, -1).permute(0, 3, 1, 2)
        return maps if self.bias is None else maps + self.bias[:, None, None]


class MapToVector(nn.Conv2d):
    """A map as large as the kernel becomes a vector for each image: a matrix product, which PyTorch does not see."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 1 1"]:
        """The vectors, as maps of one pixel."""
        if not is_plain(input) or not self.weight.is_contiguous(memory_format=torch.channels_last):
            return super().forward(input)
        pixels, weight = (each.permute(0, 2, 3, 1).flatten(1) for each in (input, self.weight))
        return F.linear(pixels, weight, self.bias)[:, :, None, None]


M = TypeVar("M", bound=nn.Module)

#: The most channels of an attention head where the number of heads is not set.
USUAL_HEAD_CHANNELS = 64
#: Slowdown of time embeddings in networks that are differentiated by time: at most 10 radians in [0, 1000).
INTERVAL_PACE = 0.01


def zero_initialised(module: M) -> M:
    """The module with all parameters 0, so that the branch it ends starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def usual_heads(channels: int) -> int:
    """The smallest number of attention heads of up to 64 channels that divides the channels."""
    least = -(-channels // USUAL_HEAD_CHANNELS)
    return next(heads for heads in range(least, channels + 1) if channels % heads == 0)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with the most groups, up to 32, that divide the channels and hold at least 4 of them each."""
    most = max(1, min(32, channels // 4))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels)


class Conditioning(nn.Module):
    """Time and label as one vector, activated, for the blocks of a denoiser.

    A sinusoidal embedding of the time (in [0, 1000)) through two layers, plus a learnt vector a class; both have
    `features` numbers, 4 * width unless given.  Row `classes` of the label table is "no label"; with classes = 0 labels
    are not looked at.
    Source: Ho et al. 2020, appendix B; Nichol & Dhariwal 2021, section 6; Geng et al. 2025, section 4.3 (intervals).
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int, features: int | None = None) -> None:
        super().__init__()
        self.features = 4 * width if features is None else features
        count = max(1, width // 2)
        frequencies = torch.exp(-math.log(10_000) * torch.arange(count, dtype=torch.float64) / count)
        self.register_buffer("frequencies", frequencies.float(), persistent=False)
        self.time = nn.Sequential(
            nn.Linear(2 * count, self.features), nn.SiLU(), nn.Linear(self.features, self.features)
        )
        self.label = nn.Embedding(classes + 1, self.features) if classes else None
        self.interval: nn.Sequential | None = None
        self.act = nn.SiLU()

    def add_interval(self) -> None:
        """Look at a second time too: the length of the interval that ends at the first one, which starts as nothing.

        The network becomes smooth enough in both for a difference quotient.
        """
        width = 2 * len(self.frequencies)
        self.frequencies = INTERVAL_PACE * self.frequencies
        last = zero_initialised(nn.Linear(self.features, self.features))
        self.interval = nn.Sequential(nn.Linear(width, self.features), nn.SiLU(), last)

    def forward(
        self, time: Float[Tensor, "b *interval"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b features"]:
        """Labels of None mean "no label" for the whole batch; a time without the length of an interval means 0."""
        condition = self.time(self._sinusoids(time if time.dim() == 1 else time[:, 0]))
        if self.interval is not None:
            length = torch.zeros_like(time) if time.dim() == 1 else time[:, 1]
            condition = condition + self.interval(self._sinusoids(length))
        if self.label is not None:
            if labels is None:
                labels = torch.full((len(time),), self.label.num_embeddings - 1, device=time.device)
            condition = condition + self.label(labels)
        return self.act(condition)  # type: ignore[no-any-return]

    def _sinusoids(self, time: Float[Tensor, " b"]) -> Float[Tensor, "b width"]:
        angles = time.float()[:, None] * self.frequencies
        return torch.cat([angles.cos(), angles.sin()], dim=1)


def run_block(block: nn.Module, *inputs: Tensor, checkpointing: bool) -> Tensor:
    """The block's output; with checkpointing only its inputs are kept, and the rest is computed again if needed."""
    if checkpointing and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
    return block(*inputs)  # type: ignore[no-any-return]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the batches of all ranks, so that N workers train like one.

    While training under torch.distributed with more than one rank, the statistics are all-reduced, differentiably and
    on any backend (PyTorch's SyncBatchNorm needs a GPU); otherwise this is PyTorch's own layer.  Its parameters and
    buffers have the same names and values either way.
    """

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Gradients are for the sum of all ranks' losses, as DistributedDataParallel expects."""
        if not (self.training and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = _all_reduced(torch.cat([x.sum(dim=(0, 2, 3)), count]))
        n, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
        centred = x - mean.view(1, -1, 1, 1)
        # A second round for the squares: E[x^2] - E[x]^2 would lose digits in float32.
        variance = _all_reduced(centred.square().sum(dim=(0, 2, 3))) / n
        self._track(mean.detach(), variance.detach() * (n / (n - 1)))
        scale = torch.rsqrt(variance + self.eps).view(1, -1, 1, 1)
        if self.weight is None or self.bias is None:  # affine=False
            return (centred * scale).to(input.dtype)
        scale = scale * self.weight.view(1, -1, 1, 1)
        return torch.addcmul(self.bias.view(1, -1, 1, 1), centred, scale).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Float[Tensor, " c"], variance: Float[Tensor, " c"]) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class _AllReduce(torch.autograd.Function):
    """Sum over ranks, whose gradient is again summed over ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # By itself, not in place, so that a gradient penalty can differentiate it once more.
        return _all_reduced(grads[0])


def _all_reduced(x: Tensor) -> Tensor:
    return _AllReduce.apply(x)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]
