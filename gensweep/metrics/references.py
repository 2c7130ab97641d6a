"""Statistics of real images, computed once by an extractor and kept on disk for every later trial and sweep."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from gensweep.metrics.extractors import Extractor
from gensweep.metrics.kept import kept
from gensweep.metrics.moments import Moments
from gensweep.metrics.quantisation import QUANTISATION

__all__ = [
    "MAX_REFERENCE_FEATURES",
    "RealImages",
    "reference_features",
    "reference_file",
    "reference_key",
    "reference_moments",
    "reference_name",
    "spread",
]

#: What a file in the cache holds, with the version of its layout.
MOMENTS_FORMAT = "gensweep moments 1"
FEATURES_FORMAT = "gensweep features 1"
#: Real images whose features are kept, at most: 410 MB at 2,048 features.
MAX_REFERENCE_FEATURES = 50_000
#: Real images that an extractor is given at a time.
REFERENCE_BATCH = 128


@runtime_checkable
class RealImages(Protocol):
    """The part of `gensweep.data.Images` that metrics need; `fingerprint` is a hash of the pixels and labels."""

    @property
    def pixels(self) -> UInt8[Tensor, "n c h w"]:
        """The images, in 0..255."""

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """Their classes, counted from 0."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What people call the classes."""

    @property
    def name(self) -> str:
        """What people call them."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content."""


def reference_name(images: RealImages) -> str:
    """The `reference` of an Identity: name, number of images, size and the start of the fingerprint."""
    n, _, height, width = images.pixels.shape
    return f"{images.name} ({n:,} images, {width}x{height})#{images.fingerprint[:16]}"


def reference_file(images: RealImages, extractor: Extractor, cache: Path, format: str = MOMENTS_FORMAT) -> Path:
    """Where the moments (or, by another format, the features) of these images by this extractor are kept.

    The name is a hash of everything they depend on: content, number, channels and size of the images, quantisation,
    and the extractor's id with its weights' hash.  The split is in it through content and name.
    """
    key = json.dumps(reference_key(images, extractor, format), sort_keys=True)
    return cache / "references" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"


def reference_moments(
    images: RealImages,
    extractor: Extractor,
    cache: Path,
    *,
    features: Float[Tensor, "n d"] | None = None,
    batch_size: int = REFERENCE_BATCH,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] = warnings.warn,
) -> Moments:
    """Moments of the features of all real images, unflipped, from the cache or computed and put there; see `kept`.

    If the `features` of all images are at hand, the extractor is not asked.  `progress` gets (images done, in all).
    """

    def compute() -> dict[str, Tensor]:
        moments = Moments(extractor.num_features)
        for batch in (
            _seen(images.pixels, extractor, batch_size) if features is None else torch.split(features, batch_size)
        ):
            moments.update(batch)
            if progress is not None:
                progress(moments.count, len(images.pixels))
        return _packed(moments)

    return _unpacked(
        kept(reference_file(images, extractor, cache), reference_key(images, extractor, MOMENTS_FORMAT), compute, note)
    )


def reference_features(
    images: RealImages,
    extractor: Extractor,
    cache: Path,
    *,
    note: Callable[[str], None] = warnings.warn,
) -> Float[Tensor, "k d"]:
    """Features of real images, unflipped, in float32, from the cache or computed and put there; see `kept`.

    They are those of `spread(n, MAX_REFERENCE_FEATURES)`.
    """

    def compute() -> dict[str, Tensor]:
        pixels = images.pixels[spread(len(images.pixels), MAX_REFERENCE_FEATURES)]
        return {"features": torch.cat([batch.cpu() for batch in _seen(pixels, extractor, REFERENCE_BATCH)])}

    file = reference_file(images, extractor, cache, FEATURES_FORMAT)
    return kept(file, reference_key(images, extractor, FEATURES_FORMAT), compute, note)["features"]


def spread(n: int, most: int) -> Int[Tensor, " k"]:
    """Which of n images are taken if at most `most` may be: evenly from all, in order."""
    k = min(n, most)
    return torch.arange(k) * n // k if k else torch.arange(0)


def reference_key(images: RealImages, extractor: Extractor, format: str) -> dict[str, str]:
    """What statistics in a format belong to, as a file that keeps them says it."""
    return {
        "format": format,
        "reference": reference_name(images),
        "fingerprint": images.fingerprint,
        "channels": str(images.pixels.shape[1]),
        "quantisation": QUANTISATION,
        "extractor": extractor.id,
    }


def _seen(pixels: UInt8[Tensor, "n c h w"], extractor: Extractor, batch_size: int) -> Iterator[Float[Tensor, "b d"]]:
    device = next(extractor.parameters()).device
    for batch in torch.split(pixels, batch_size):
        yield extractor(batch.to(device))


def _packed(moments: Moments) -> dict[str, Tensor]:
    d = moments.num_features
    rows, columns = torch.triu_indices(d, d)
    outer = moments.outer.cpu()[rows, columns]
    return {"count": moments.state[:1].cpu().clone(), "total": moments.total.cpu().clone(), "outer": outer}


def _unpacked(tensors: dict[str, Tensor]) -> Moments:
    num_features = len(tensors["total"])
    moments = Moments(num_features)
    moments.state[:1] = tensors["count"]
    moments.total.copy_(tensors["total"])
    rows, columns = torch.triu_indices(num_features, num_features)
    moments.outer[rows, columns] = tensors["outer"]
    return moments
