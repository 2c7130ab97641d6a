"""A quick look at a folder of pictures of any size; opens only a sample of the files."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from gensweep.data.image_folder import class_names_of, labelled_pictures, splits_in
from gensweep.data.picture_decoding import PICTURE_SUFFIXES, decoded, original
from gensweep.data.picture_files import decode_files, list_files
from gensweep.errors import ConfigError
from gensweep.files import expanded

#: Pictures to decode, and pictures to compare byte by byte if their sizes agree.
MOST_OPENED, MOST_COMPARED = 400, 5_000


class FolderSurvey(NamedTuple):
    """Facts about training pictures: `short_side` is a median in pixels, `seconds` the time to decode one."""

    classes: Mapping[str, int]
    short_side: int
    grey: bool
    opened: int
    unreadable: int
    compared: int
    copies: int
    seconds: float


def survey_folder(path: str) -> FolderSurvey:
    """Survey a folder.  Raises ConfigError if it does not exist, or has no readable picture."""
    folder = expanded(path)
    if not folder.is_dir():
        raise ConfigError(f"--data: {folder} is not a folder; name the folder of your pictures")
    root = (splits_in(folder) or [folder])[0]
    files = list_files(root).files
    names = class_names_of(files)
    labels, _ = labelled_pictures(files, names)
    sample, started = list(labels)[:MOST_OPENED], time.perf_counter()  # in the order of hashes: a fair sample
    readable, unreadable = decode_files(root, sample, partial(decoded, size=64, channels=3))
    seconds = (time.perf_counter() - started) / max(1, len(sample))
    if not readable:
        reason = next(iter(unreadable.values()), f"known: {', '.join(sorted(PICTURE_SUFFIXES))}")
        raise ConfigError(f"--data: {folder} has no picture that can be read, among {len(files):,} files ({reason})")
    originals = decode_files(root, list(readable), original)[0].values()
    sizes = {file: (root / file).stat().st_size for file in list(labels)[:MOST_COMPARED]}
    shared = Counter(sizes.values())
    digests = [hashlib.sha256((root / file).read_bytes()).digest() for file in sizes if shared[sizes[file]] > 1]
    return FolderSurvey(
        classes=Counter(names[label] for label in labels.values()),
        short_side=sorted(min(each.width, each.height) for each in originals)[len(originals) // 2],
        grey=all(each.mode == "grey" for each in originals),
        opened=len(sample),
        unreadable=len(unreadable),
        compared=len(sizes),
        copies=len(digests) - len(set(digests)),
        seconds=seconds,
    )
