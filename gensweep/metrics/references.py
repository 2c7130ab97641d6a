"""Statistics of real images, computed once by an extractor and kept on disk for every later trial and sweep."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from filelock import FileLock
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.images import QUANTISATION
from gensweep.metrics.moments import Moments

__all__ = ["RealImages", "reference_file", "reference_moments", "reference_name"]

FORMAT = "gensweep moments 1"


@runtime_checkable
class RealImages(Protocol):
    """What is asked of a data set; see `gensweep.data.Images`.  `fingerprint` is a hash of the pixels and labels."""

    @property
    def pixels(self) -> UInt8[Tensor, "n c h w"]:
        """The images, in 0..255."""

    @property
    def name(self) -> str:
        """What people call them."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content."""


def reference_name(images: RealImages) -> str:
    """The `reference` of a MetricIdentity: name, number of images, size and the start of the fingerprint."""
    n, _, height, width = images.pixels.shape
    return f"{images.name} ({n:,} images, {width}x{height})#{images.fingerprint[:16]}"


def reference_file(images: RealImages, extractor: Extractor, cache: Path) -> Path:
    """Where the moments of these images by this extractor are kept.

    The name is a hash of everything they depend on: content, number, channels and size of the images, quantisation,
    and the extractor's id with its weights' hash.  The split is in it through content and name.
    """
    key = json.dumps(_key(images, extractor), sort_keys=True)
    return cache / "references" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"


def reference_moments(
    images: RealImages,
    extractor: Extractor,
    cache: Path,
    *,
    batch_size: int = 128,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] = warnings.warn,
) -> Moments:
    """Moments of the features of all real images, unflipped, from the cache or computed and put there.

    Safe under concurrent trials: one computes, the others wait for it and read.  An entry that is damaged or belongs
    to something else is computed again, and `note` is told.  `progress` gets (images done, images in all).
    """
    key = _key(images, extractor)
    file = reference_file(images, extractor, cache)
    if (found := _read(file, key, note)) is not None:
        return found
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if file.exists() and (found := _read(file, key, lambda _: None)) is not None:
                return found
            moments = _compute(images.pixels, extractor, batch_size, progress)
            _write(file, key, moments)
            return moments
    except OSError as error:
        raise GensweepError(
            f"{file.parent}: reference statistics cannot be kept there ({error}); "
            "point GENSWEEP_CACHE to a folder that can be written"
        ) from error


def _key(images: RealImages, extractor: Extractor) -> dict[str, str]:
    return {
        "format": FORMAT,
        "reference": reference_name(images),
        "fingerprint": images.fingerprint,
        "channels": str(images.pixels.shape[1]),
        "quantisation": QUANTISATION,
        "extractor": extractor.id,
    }


def _compute(
    pixels: UInt8[Tensor, "n c h w"],
    extractor: Extractor,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
) -> Moments:
    device = next(extractor.parameters()).device
    moments = Moments(extractor.num_features)
    for batch in torch.split(pixels, batch_size):
        moments.update(extractor(batch.to(device)))
        if progress is not None:
            progress(moments.count, len(pixels))
    return moments


def _packed(moments: Moments) -> dict[str, Tensor]:
    d = moments.num_features
    rows, columns = torch.triu_indices(d, d)
    outer = moments.outer.cpu()[rows, columns]
    return {"count": moments.state[:1].cpu().clone(), "total": moments.total.cpu().clone(), "outer": outer}


def _unpacked(tensors: dict[str, Tensor], num_features: int) -> Moments:
    moments = Moments(num_features)
    moments.state[:1] = tensors["count"]
    moments.total.copy_(tensors["total"])
    rows, columns = torch.triu_indices(num_features, num_features)
    moments.outer[rows, columns] = tensors["outer"]
    return moments


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()


def _write(file: Path, key: dict[str, str], moments: Moments) -> None:
    tensors = _packed(moments)
    metadata = {**key, "num_features": str(moments.num_features), "sha256": _digest(tensors)}
    aside = file.with_name(f"{file.stem}.{os.getpid()}.tmp")
    try:
        save_file(tensors, aside, metadata=metadata)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _read(file: Path, key: dict[str, str], note: Callable[[str], None]) -> Moments | None:
    """The moments in a file, or None if there is none or it must not be trusted."""
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as entry:
            metadata = entry.metadata() or {}
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (not a mapping)
        intact = metadata.get("sha256") == _digest(tensors) and key.items() <= metadata.items()
        if intact:
            return _unpacked(tensors, int(metadata["num_features"]))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError):
        pass
    note(f"{file}: these reference statistics are damaged; they are computed again")
    return None
