"""Random numbers that belong to a sample, not to a process: counter-based, by Philox4x32-10.

Number e of a stream of a sample is a pure function of (key, sample, stream, e).  So images do not depend on the batch
size, the number of workers or the order of work, and resuming needs no stored state.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int, Int64, Shaped
from torch import Tensor

from gensweep.kernels import library

#: Philox counts in words of 32 bits.
WORD_MASK = 0xFFFFFFFF
#: The constants of Philox 4x32-10.
PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
PHILOX_ROUNDS = 10
#: Blocks of four words per CPU call: temporaries stay in its cache, which saves a third of the time.
MAX_BLOCKS_IN_CACHE = 2**14

Words = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Noise:
    """The random numbers of some samples.

    `key` is the seed of the run (64 bits).  `samples` are indices from 0: positions in the training stream, or indices
    of generated images; numbers have a row for each, on its device.  `stream` separates the uses of randomness
    (0 to 2^32 - 1); equal arguments give equal numbers.
    """

    key: int
    samples: Int[Tensor, " n"]

    def normal(self, *shape: int, stream: int) -> Float[Tensor, "n ..."]:
        """Standard normal float32 numbers, by the Box-Muller transform; at most 6.8 in absolute value."""
        out = self._empty(shape, torch.float32)
        for rows, words in self._words(out.shape[1], stream):
            for lane in (0, 2):
                # (w + 1/2) / 2^32 is never 0, so the logarithm is finite.
                radius = words[lane].float().add_(0.5).mul_(2.0**-32).log_().mul_(-2.0).sqrt_()
                angle = words[lane + 1].float().mul_(2.0 * math.pi * 2.0**-32)
                torch.mul(radius, angle.cos(), out=out[rows, :, lane])
                torch.mul(radius, angle.sin_(), out=out[rows, :, lane + 1])
        return _shaped(out, shape)

    def uniform(self, *shape: int, stream: int) -> Float[Tensor, "n ..."]:
        """Uniform float32 numbers in [0, 1): multiples of 2^-24, each equally likely."""
        out = self._empty(shape, torch.float32)
        for rows, words in self._words(out.shape[1], stream):
            for lane, word in enumerate(words):
                out[rows, :, lane] = (word >> 8).float().mul_(2.0**-24)
        return _shaped(out, shape)

    def integers(self, high: int, *shape: int, stream: int) -> Int[Tensor, "n ..."]:
        """Uniform int64 numbers in 0..high-1, for high up to 2^31; no probability is off by more than 2^-32."""
        if not 1 <= high <= 2**31:
            raise ValueError(f"1 <= high <= 2^31 must hold, but got high={high}")
        out = self._empty(shape, torch.int64)
        for rows, words in self._words(out.shape[1], stream):
            for lane, word in enumerate(words):
                out[rows, :, lane] = (word * high) >> 32
        return _shaped(out, shape)

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Shaped[Tensor, "n blocks 4"]:
        blocks = -(-math.prod(shape) // 4)
        return torch.empty(len(self.samples), blocks, 4, dtype=dtype, device=self.samples.device)

    def _words(self, blocks: int, stream: int) -> Iterator[tuple[slice, Words]]:
        """The blocks of four random words, for some rows at a time."""
        samples = self.samples.to(torch.int64)
        compiled = is_compiled(samples)
        step = max(1, MAX_BLOCKS_IN_CACHE // max(1, blocks)) if samples.device.type == "cpu" else max(1, len(samples))
        for start in range(0, len(samples), step):
            rows = slice(start, start + step)
            yield rows, (philox_words if compiled else composed_words)(self.key, samples[rows], blocks, stream)


def composed_words(key: int, samples: Int64[Tensor, " n"], blocks: int, stream: int) -> Words:
    """The words of `blocks` blocks per sample, of shape (n, blocks), by PyTorch's operations."""
    block = torch.arange(blocks, device=samples.device).unsqueeze(0)
    use = torch.full((1, 1), stream & WORD_MASK, device=samples.device)
    rows = samples.unsqueeze(1)
    counter = (block, use, rows & WORD_MASK, (rows >> 32) & WORD_MASK)
    return philox(counter, (key & WORD_MASK, (key >> 32) & WORD_MASK))


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Philox4x32-10: four words of 32 bits for each counter, all in int64 tensors that broadcast.

    A product of two words may wrap around in int64, which keeps its 64 bits.  The shift copies the sign, and the mask
    removes it.  A low half is masked only when it is multiplied or returned.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(PHILOX_ROUNDS):
        p0, p1 = x0 * PHILOX_MULTIPLIERS[0], x2 * PHILOX_MULTIPLIERS[1]
        x0, x2 = _mix(p1, x1, k0), _mix(p0, x3, k1)
        x1, x3 = p1, p0
        k0, k1 = (k0 + PHILOX_WEYL[0]) & WORD_MASK, (k1 + PHILOX_WEYL[1]) & WORD_MASK
    return x0, x1 & WORD_MASK, x2, x3 & WORD_MASK


def _mix(product: Tensor, low: Tensor, key: int) -> Tensor:
    """The high half of a product, exclusive-or'ed with a word and a key."""
    return (product >> 32).bitwise_xor(low).bitwise_xor_(key).bitwise_and_(WORD_MASK)


def _shaped(numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    return numbers.flatten(1)[:, : math.prod(shape)].reshape(numbers.shape[0], *shape)


def is_compiled(samples: Tensor) -> bool:
    """True if `philox_words` is available: the same words as PyTorch's operations in a tenth of the time."""
    return library.is_plain(samples) and library.library() is not None


def philox_words(key: int, samples: Int64[Tensor, " n"], blocks: int, stream: int) -> Words:
    """The four words of each block of the samples, from 0 to 2^32 - 1."""
    samples = samples.contiguous()
    words = torch.empty(4, len(samples), blocks, dtype=torch.int64)
    library.run("philox", samples, len(samples), blocks, stream, key, words)
    return cast(Words, words.unbind())
