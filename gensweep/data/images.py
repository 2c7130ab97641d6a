"""Data sets in memory: class subsets, limits, sizes, fingerprints.

Shapes: n images, c channels (1 or 3), h = w pixels.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Ge, Interval, MinLen, MultipleOf, doc
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from gensweep.errors import ConfigError
from gensweep.registry import Registry

Split: TypeAlias = Literal["train", "test"]
#: Names of splits, in the order of lookup.
SPLIT_WORDS: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "validation", "valid", "val")}


# A data set is a function (split, root: the cache folder, *, settings) -> Images.
DATASETS: Registry[Callable[..., Images]] = Registry("data set", package="gensweep.data")
# A fetcher is a function (root: the cache folder, *, source: a folder that has the data set, report: prints a line)
# -> the folder where the data set is stored.
FETCHERS: Registry[Callable[..., Path]] = Registry("data set to fetch", package="gensweep.data")

# Short names of single data sets: kind and settings by name.
NAMED_DATASETS: dict[str, tuple[str, dict[str, str]]] = {}

ClassNames: TypeAlias = Annotated[tuple[str, ...], MinLen(1)]
Classes: TypeAlias = Annotated[ClassNames | None, doc("classes to use, in the order of their labels; null: all")]
Limit: TypeAlias = Annotated[Annotated[int, Ge(1)] | None, doc("use only the first N images; null: all")]
Size: TypeAlias = Annotated[int, Interval(ge=8, le=256), MultipleOf(4), doc("pixels of each side")]
Flip: TypeAlias = Annotated[bool, doc("mirror images at random in training")]
Channels: TypeAlias = Annotated[Literal[1, 3], doc("3: RGB, 1: grey")]
TestFraction: TypeAlias = Annotated[
    float, Interval(ge=0, lt=1), doc("share of images for testing, if the data set has no test split")
]


@dataclass(frozen=True, eq=False)
class Images:
    """A data set in memory: square uint8 images with labels.

    Labels count from 0 in the order of `class_names`.  `flip` is True if a mirrored image is as good as the original.
    `fingerprint` is the SHA-256 of class names, labels and pixels, equal on every machine.
    `notes` are for the user, such as a list of unreadable files.
    """

    pixels: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    class_names: tuple[str, ...]
    name: str
    fingerprint: str
    flip: bool
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.pixels.shape[0]

    @property
    def channels(self) -> int:
        """1: grey, 3: RGB."""
        return self.pixels.shape[1]

    @property
    def size(self) -> int:
        """Pixels of each side."""
        return self.pixels.shape[-1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of an image, (c, h, w)."""
        return self.channels, self.size, self.size

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Number of images per class."""
        return tuple(torch.bincount(self.labels, minlength=self.classes).tolist())


def select(
    pixels: UInt8[np.ndarray, "n c h0 w0"],
    labels: Int64[np.ndarray, " n"],
    class_names: tuple[str, ...],
    *,
    name: str,
    classes: tuple[str, ...] | None,
    limit: int | None,
    size: int,
    flip: bool,
    notes: tuple[str, ...] = (),
) -> Images:
    """Make a data set of the first `limit` images of the named classes, at `size` x `size` pixels.

    Labels of a subset count from 0 in the order in which the user named the classes.
    Raises ConfigError for an unknown class, or if no image is left.
    """
    chosen = picked(classes, class_names, name.partition("/")[0])
    order = np.full(len(class_names), -1)
    order[[class_names.index(each) for each in chosen]] = np.arange(len(chosen))
    whole = np.flatnonzero(order[labels] >= 0)
    if limit is not None and limit > len(whole):
        notes = (*notes, f"limit: {limit} is more than the {len(whole)} images of {name}; all are used")
    index = whole[:limit]
    if len(left_out := np.setdiff1d(order[labels[whole]], order[labels[index]])):
        lacking = _listed(tuple(chosen[label] for label in left_out))
        notes = (*notes, f"limit: the first {limit} images of {name} have no {lacking}; raise it, or name classes")
    if len(index) == 0:
        raise ConfigError(f"{name} has no image of {', '.join(chosen)}; name other classes or another split")
    # A whole data set is not copied: that would need another 150 MB.
    pixels = np.ascontiguousarray(resized(pixels if len(index) == len(pixels) else pixels[index], size))
    labels = order[labels[index]].astype(np.int64)
    digest = hashlib.sha256(repr((chosen, pixels.shape)).encode())
    digest.update(labels.astype("<i8").tobytes())
    digest.update(pixels.data)
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels), chosen, name, digest.hexdigest(), flip, notes)


def picked(classes: tuple[str, ...] | None, known: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The classes that the user names, in that order; None means all.

    Raises ConfigError that lists all unknown and repeated names.
    """
    if classes is None:
        return known
    problems = []
    for position, each in enumerate(classes):
        if each not in known:
            close = difflib.get_close_matches(each, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            problems.append(f"{each!r} is not a class of {name}{hint} (known: {_listed(known)})")
        elif each in classes[:position]:
            problems.append(f"class {each!r} is named twice")
    if problems:
        raise ConfigError(problems)
    return classes


def resized(pixels: UInt8[np.ndarray, "n c h0 w0"], size: int) -> UInt8[np.ndarray, "n c h w"]:
    """Resize square images: bilinear, antialiased when shrinking.

    PIL's fixed-point arithmetic gives the same bytes on every machine, so fingerprints stay comparable.
    """
    n, channels, *shape = pixels.shape
    if shape == [size, size]:
        return pixels
    result = np.empty((n, channels, size, size), dtype=np.uint8)
    for source, target in zip(pixels.reshape(-1, *shape), result.reshape(-1, size, size), strict=True):
        np.copyto(target, np.asarray(Image.fromarray(source).resize((size, size), Image.Resampling.BILINEAR)))
    return result


def _listed(names: tuple[str, ...], most: int = 20) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
