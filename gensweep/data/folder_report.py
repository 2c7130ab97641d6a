"""Facts about a folder of pictures before training: sizes, crops, pixel formats, duplicates, unreadable files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gensweep.data.image_folder import FolderSplit, read_split
from gensweep.data.images import SPLIT_WORDS, Images, Split
from gensweep.data.picture_decoding import original
from gensweep.data.picture_files import counted, decode_files, printable

#: Pixel formats that decoding converts, with a description.
CONVERSIONS = {
    "more than 8 bits": "of more than 8 bits (scaled to 8)",
    "transparent": "transparent (put on white)",
    "CMYK": "CMYK (converted to RGB)",
}

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FolderReport:
    """Facts about the pictures of all splits; file names are relative to the folder.

    `smallest`, `median` and `largest` are the width and height of originals, ordered by pixel count.
    Duplicates are pictures with identical pixels after cropping: `repeated` pairs a file with an earlier one in its
    split, `leaked` a test file with a training file.
    """

    pictures: Mapping[Split, int]
    size: int
    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    enlarged: int
    cropped: int
    modes: Mapping[str, int]
    repeated: Mapping[Split, Pairs]
    leaked: Pairs
    unreadable: Mapping[Split, Mapping[str, str]]
    refused: bool
    warnings: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report as text."""
        total, smallest = sum(self.pictures.values()), f"{self.size} x {self.size}"
        repeats = [f"{len(pairs):,} in {split} ({_example(pairs)})" for split, pairs in self.repeated.items() if pairs]
        modes = [f"{count:,} {CONVERSIONS.get(mode, mode)}" for mode, count in self.modes.items()]
        return [
            f"pictures    {', '.join(f'{count:,} {split}' for split, count in self.pictures.items())}",
            f"sizes       smallest {_size(self.smallest)}, median {_size(self.median)}, largest {_size(self.largest)}",
            f"enlarged    {self.enlarged:,} of {total:,}: smaller than {smallest}",
            f"cropped     {self.cropped:,} of {total:,}: not square, the middle is kept",
            f"pixels      {', '.join(modes)}",
            f"duplicates  {', '.join(repeats) or 'none within a split'}",
        ]


def inspect_folder(
    split: Split, root: Path, *, flip: bool, allow_skipped: bool, **settings: Any
) -> tuple[Images, FolderReport]:
    """Read all splits of a folder and describe them; arguments as for `image_folder`.

    Returns one of the splits with notes on all.  Raises ConfigError if that split is empty.
    """
    parts = {each: read_split(each, root, **settings) for each in SPLIT_WORDS}
    images = parts[split].images(flip, allow_skipped=True)
    (other,) = (part for each, part in parts.items() if each != split)
    more = [f"{other.split} split: {note}" for note in other.skipped if note not in images.notes]
    return replace(images, notes=(*images.notes, *more)), _report(parts, allow_skipped)


def _report(parts: Mapping[Split, FolderSplit], allow_skipped: bool) -> FolderReport:
    originals = [each for part in parts.values() for each in decode_files(part.root, part.names, original)[0].values()]
    sizes = sorted(((each.width, each.height) for each in originals), key=lambda each: (each[0] * each[1], each))
    size = int(parts["train"].settings["size"])
    leaked = _equal(parts["test"], parts["train"])
    refusals = [f"{each} split: {part.refusal}" for each, part in parts.items() if part.refusal and not allow_skipped]
    warnings = list(refusals)
    if leaked:
        are = counted(len(leaked), "test picture is", "test pictures are")
        warnings.insert(
            0,
            f"{are} also in the training split, of {len(parts['test'].names):,} ({_example(leaked)}); scores against "
            "the test split are too good: remove the copies",
        )
    return FolderReport(
        pictures={split: len(part.names) for split, part in parts.items()},
        size=size,
        smallest=sizes[0],
        median=sizes[len(sizes) // 2],
        largest=sizes[-1],
        enlarged=sum(min(each) < size for each in sizes),
        cropped=sum(width != height for width, height in sizes),
        modes=dict(Counter(each.mode for each in originals).most_common()),
        repeated={split: _equal(part, part) for split, part in parts.items()},
        leaked=leaked,
        unreadable={split: part.decoded.unreadable for split, part in parts.items()},
        refused=bool(refusals),
        warnings=tuple(warnings),
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _digests(part: FolderSplit) -> list[tuple[str, bytes]]:
    """Files of a split, each with the hash of its cropped pixels."""
    hashes = (hashlib.sha256(square.tobytes()).digest() for square in part.decoded.pixels)
    return list(zip(part.names, hashes, strict=True))


def _equal(part: FolderSplit, others: FolderSplit) -> Pairs:
    """Files of a split that equal another of these files, each with the first one."""
    first = {digest: name for name, digest in reversed(_digests(others))}
    pairs = ((name, first.get(digest, name)) for name, digest in _digests(part))
    return tuple((name, other) for name, other in pairs if name != other)


def _example(pairs: Pairs) -> str:
    return " = ".join(printable(name) for name in pairs[0])
