"""From the networks' range to the pixels that a viewer, and every metric, sees."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gensweep.errors import GensweepError

QUANTISATION = "uint8:floor(127.5x+128)"


def to_uint8(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Quantise images in [-1, 1] to 0..255.

    floor(127.5 x + 128), clipped.  Half precision is widened first, since bfloat16 cannot count to 255.
    Raises GensweepError if a value is NaN or infinite, which a cast would turn into a harmless grey.
    Source: the FID-50k protocol of Karras et al. 2022, `generate.py`.
    """
    if not bool(torch.isfinite(x).all()):
        raise GensweepError(
            "generated images hold NaN or infinite values; the training has diverged: lower the learning rate, "
            "or use precision float32"
        )
    return (x.float() * 127.5 + 128).floor().clamp(0, 255).to(torch.uint8)
