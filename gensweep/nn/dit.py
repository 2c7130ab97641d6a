"""A transformer over patches of the image as denoiser: DiT."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Interval, doc
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.errors import ParameterError
from gensweep.kernels import attend
from gensweep.nn.layers import Conditioning, run_block, usual_heads, zero_initialised
from gensweep.nn.networks import DENOISERS, Checkpointing, Count, GroupedWidth
from gensweep.nn.precision import in_full

#: Width of the sinusoidal embedding of the time.
TIME_WIDTH = 256
#: The layers between two attentions are wider inside by this factor.
EXPANSION = 4
#: Source: Peebles & Xie 2023 (their code).
NORM_EPSILON = 1e-6


@DENOISERS.register("dit")
class DiT(nn.Module):
    """Transformer over square patches: time and label set scale, shift and gate of every block (adaLN-zero).

    The side of a `patch` divides that of the images; halving it takes four times the work or more.  `heads` divide the
    width; by default each has up to 64 channels.  With its defaults, at 32 px, it has 8.2 M parameters and 1.7 G
    multiply-adds; `unet` has 6.9 M and 1.5 G.  A width of 64 and a depth of 4 give 0.3 M.  DiT-S/2 of the paper has a
    width of 384.
    Raises ParameterError if the patch or the heads do not divide.
    Source: Peebles & Xie 2023; Darcet et al. 2024 (registers).
    """

    positions: Tensor

    def __init__(
        self,
        channels: int,
        size: int,
        classes: int,
        outputs: int | None = None,
        *,
        patch: Annotated[int, Interval(ge=1, le=64), doc("side of the squares that become tokens, in pixels")] = 2,
        width: Annotated[GroupedWidth, doc("features of a token")] = 192,
        depth: Annotated[Count, doc("transformer blocks")] = 12,
        heads: Annotated[Count | None, doc("attention heads of a block; null: by the width")] = None,
        registers: Annotated[int, Interval(ge=0, le=256), doc("tokens that stand for no patch")] = 0,
        checkpointing: Checkpointing = False,
    ) -> None:
        super().__init__()
        if size % patch:
            divisors = [each for each in range(1, size + 1) if size % each == 0]
            message = f"{patch} does not divide images of {size} px; use one of {', '.join(map(str, divisors))}"
            raise ParameterError("patch", message)
        heads = usual_heads(width) if heads is None else heads
        if width % heads:
            divisors = [each for each in range(1, width + 1) if width % each == 0]
            message = f"{heads} does not divide the width of {width}; use one of {', '.join(map(str, divisors))}"
            raise ParameterError("heads", message)
        self.checkpointing = checkpointing
        self.condition = Conditioning(TIME_WIDTH, classes, features=width)
        self.first = nn.Conv2d(channels, width, patch, stride=patch)
        self.register_buffer("positions", sinusoidal_positions(size // patch, width), persistent=False)
        self.registers = nn.Parameter(0.02 * torch.randn(registers, width)) if registers else None
        self.blocks = nn.ModuleList(TransformerBlock(width, heads) for _ in range(depth))
        self.apply(_initialise)
        self.norm = token_norm(width)
        self.modulation = zero_initialised(nn.Linear(width, 2 * width))
        predicted = channels if outputs is None else outputs
        self.last = zero_initialised(nn.Conv2d(width, predicted * patch**2, 1))
        self.patch = patch

    def forward(
        self, x: Float[Tensor, "b c h w"], time: Float[Tensor, "b *interval"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b outputs h w"]:
        """Predict from the noisy x at a time in [0, 1000); labels of None mean "no label"."""
        condition = self.condition(time, labels)
        patches = self.first(x)
        b, width, rows, columns = patches.shape
        # Positions are float32, and so are all sums of blocks, whatever autocast says.
        tokens = patches.flatten(2).transpose(1, 2) + self.positions
        if self.registers is not None:
            tokens = torch.cat([tokens, self.registers.expand(b, -1, -1)], dim=1)
        for block in self.blocks:
            tokens = run_block(block, tokens, condition, checkpointing=self.checkpointing)
        shift, scale = self.modulation(condition).unsqueeze(1).chunk(2, dim=-1)
        tokens = modulated(self.norm, tokens[:, : rows * columns], shift, scale)
        maps = tokens.transpose(1, 2).reshape(b, width, rows, columns)
        return F.pixel_shuffle(in_full(self.last, maps), self.patch)


class TransformerBlock(nn.Module):
    """Attention, then two layers of each token alone, each with a scale, a shift and a gate; starts as the identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 6 * width)
        self.norm = token_norm(width)
        self.attention = TokenAttention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, EXPANSION * width), nn.GELU("tanh"), nn.Linear(EXPANSION * width, width)
        )

    def forward(self, x: Float[Tensor, "b n c"], condition: Float[Tensor, "b c"]) -> Float[Tensor, "b n c"]:
        """The tokens, changed as the condition says."""
        shifts = self.modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        shift, scale, gate = shifts[:3]
        x = x + gate * self.attention(modulated(self.norm, x, shift, scale))
        shift, scale, gate = shifts[3:]
        return x + gate * self.mlp(modulated(self.norm, x, shift, scale))  # type: ignore[no-any-return]


class TokenAttention(nn.Module):
    """Self-attention between tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """The same number of tokens."""
        b, n, c = x.shape
        return self.out(attend(self.qkv(x).view(b, n, 3, self.heads, c // self.heads)).reshape(b, n, c))  # type: ignore[no-any-return]


def modulated(
    norm: nn.Module, x: Float[Tensor, "b n c"], shift: Float[Tensor, "b 1 c"], scale: Float[Tensor, "b 1 c"]
) -> Float[Tensor, "b n c"]:
    """Normalised tokens, scaled and shifted in float32."""
    return torch.addcmul(shift.float(), norm(x).float(), 1 + scale.float())


def token_norm(width: int) -> nn.LayerNorm:
    """Tokens to mean 0 and variance 1; scale and shift come from the condition."""
    return nn.LayerNorm(width, eps=NORM_EPSILON, elementwise_affine=False)


def sinusoidal_positions(side: int, width: int) -> Float[Tensor, "n c"]:
    """Sines and cosines of the column, then of the row, for side x side patches in row order.

    Frequencies go from 1 down to 1/10,000 per patch; the width is a multiple of 4.
    Source: Vaswani et al. 2017, section 3.5, in two dimensions as in Peebles & Xie 2023.
    """
    frequencies = 10_000 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    one = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.cat([one.repeat(side, 1), one.repeat_interleave(side, 0)], dim=1).float()


def _initialise(module: nn.Module) -> None:
    """Initialise matrices by Glorot's rule, time and label layers from N(0, 0.02), gates of blocks and biases to 0."""
    if isinstance(module, TransformerBlock):  # visited after its layers
        zero_initialised(module.modulation)
    elif isinstance(module, Conditioning):
        for weight in module.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.02)
    elif isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
        assert module.bias is not None
        nn.init.zeros_(module.bias)
