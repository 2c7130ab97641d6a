"""Networks that map an image to a vector of features; each has an id for everything that its numbers depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import torch
from annotated_types import doc
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from gensweep.errors import GensweepError
from gensweep.registry import Registry

#: Batch size on an accelerator, which limits the memory.
GPU_CHUNK_IMAGES = 256
#: Batch size on a CPU, whose caches hold the activations of few images.
CPU_CHUNK_IMAGES = 16

Prepare = Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b 3 r r"]]

WeightsPath: TypeAlias = Annotated[str | None, doc("path of the weights file; null: the file in the cache")]


# An extractor is built by a function (device, cache: the cache folder, images: the training images, *, settings)
# -> Extractor.
EXTRACTORS: Registry[Callable[..., Extractor]] = Registry("feature extractor", package="gensweep.metrics")


class Extractor(nn.Module):
    """A frozen network with the preparation of its input.

    `id` names network, features, resolution, precision and weights; scores with different ids are never compared.
    """

    def __init__(self, network: nn.Module, prepare: Prepare, *, id: str, num_features: int) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.prepare = prepare
        self.id = id
        self.num_features = num_features

    def train(self, mode: bool = True) -> Extractor:
        """Stay in evaluation mode when the parent module changes its mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Features in float32 of images in 0..255, with 1 or 3 channels and of any size.

        An image's features do not depend on the rest of the batch, except for rounding in `precision`.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be quantised to uint8 first (to_uint8), but got {images.dtype}")
        # Autocast around the call would change the features but not the id.
        with torch.autocast(images.device.type, enabled=False):
            size = CPU_CHUNK_IMAGES if images.device.type == "cpu" else GPU_CHUNK_IMAGES
            chunks = torch.split(images.expand(-1, 3, -1, -1), size)
            features = [self.network(self.prepare(chunk)).float() for chunk in chunks if len(chunk)]
        return torch.cat([torch.zeros(0, self.num_features, device=images.device), *features])


def fold_batch_norm(module: nn.Module, convolution: str, norm: str) -> None:
    """Merge a child batch norm into the child convolution before it: the same function in evaluation, less work."""
    setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
    setattr(module, norm, nn.Identity())


QUANTISATION = "uint8:floor(127.5x+128)"


def to_uint8(x: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Quantise images in [-1, 1] to 0..255.

    floor(127.5 x + 128), clipped.  Half precision is widened first, since bfloat16 cannot count to 255.
    Raises GensweepError for NaN or infinite values, which a cast would turn into grey.
    Source: the FID-50k protocol of Karras et al. 2022, `generate.py`.
    """
    if not bool(torch.isfinite(x).all()):
        raise GensweepError(
            "generated images hold NaN or infinite values; the training has diverged: lower the learning rate, "
            "or use precision float32"
        )
    return (x.float() * 127.5 + 128).floor().clamp(0, 255).to(torch.uint8)
