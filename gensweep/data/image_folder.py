"""Any folder of pictures as a data set: classes from its sub-folders, or one class.

Pictures are decoded once, in parallel, and the result is kept in the cache folder until a file changes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import PIL
from annotated_types import doc
from jaxtyping import UInt8

from gensweep.cache import locked
from gensweep.data.images import (
    DATASETS,
    SPLIT_WORDS,
    Channels,
    Classes,
    Flip,
    Images,
    Limit,
    Size,
    Split,
    TestFraction,
    picked,
    select,
)
from gensweep.data.picture_decoding import MAX_PIXELS, PICTURE_SUFFIXES, MaxPixels, decoded
from gensweep.data.picture_files import decode_files, file_names, is_picture, shuffle_key, skipped_notes
from gensweep.data.url_folder import local_copy
from gensweep.errors import ConfigError, ParameterError
from gensweep.files import expanded, replacing
from gensweep.remote_folder import is_url

# The name of the class of a folder without sub-folders.
ONE_CLASS = "image"
#: Share of the pictures that may be skipped, because they cannot be read, before somebody has to agree.
MAX_SKIPPED_SHARE = 0.01


@DATASETS.register("image_folder")
def image_folder(
    split: Split,
    root: Path,
    *,
    path: Annotated[str, doc("the folder, or a URL such as s3://bucket/pictures")],
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    channels: Channels = 3,
    test_fraction: TestFraction = 0.1,
    flip: Flip = True,
    max_pixels: MaxPixels = MAX_PIXELS,
    allow_skipped: Annotated[
        bool, doc("whether more than one in a hundred pictures may be skipped because they cannot be read")
    ] = False,
) -> Images:
    """A folder of your own pictures: classes from its sub-folders, or one class.

    Pictures are cropped to the square in the middle and resized, see `picture_decoding`.
    If the folder has sub-folders `train` and `test` (or `validation`, `valid` or `val`, where there is no `test`) they
    are the splits; otherwise a hash of each file's name decides, so that about `test_fraction` of the pictures are for
    testing and a new picture moves no other one.
    The pictures come in the order of these hashes, so the first `limit` of them are a fair mix of the classes.
    Files that cannot be read, or have more than `max_pixels`, and links that lead out of the folder are skipped,
    counted and named in the notes.  Of a folder at a URL a machine fetches what is new into its cache.
    Raises ConfigError if there is no such folder, nothing in it that can be read, or too much that cannot.
    """
    folder = local_copy(path, root).resolve() if is_url(path) else expanded(path).resolve()
    if not folder.is_dir():
        raise ParameterError("path", f"{folder} is not a folder; name yours")
    given = splits_in(folder)
    folders = dict(zip(SPLIT_WORDS, given, strict=False)) if given else {split: folder}
    for each in folders.values():
        if not each.resolve().is_relative_to(folder):
            raise ParameterError(
                "path", f"{each} is a link that leads out of the folder; let it hold both splits itself"
            )
    files = {name: file_names(each, folder) for name, each in folders.items()}
    # Both splits count, so that their labels mean the same even if one lacks a class.
    class_names = _class_names([file for part, _ in files.values() for file in part])
    inside, outside = files[split]
    pictures, notes = _pictures(inside, class_names)
    if unused := [f"{each.name}/" for each in given[2:]]:
        notes = (*notes, f"not used: {', '.join(unused)} ({given[1].name}/ is the test split)")
    chosen = picked(classes, class_names, path)
    wanted = {file: label for file, label in pictures.items() if class_names[label] in chosen}
    if not given:
        everything = len(wanted)
        wanted = {f: label for f, label in wanted.items() if (shuffle_key(f) < test_fraction) == (split == "test")}
        parts = (len(wanted), everything - len(wanted))
        train, test = parts if split == "train" else parts[::-1]
        if test_fraction:
            notes = (*notes, f"{everything} pictures, split by their names: {train} to train on, {test} to test on")
    use: dict[str, Any] = {"size": size, "channels": channels, "limit": limit, "max_pixels": max_pixels}
    use |= {"split": split, "classes": classes}
    pixels, labels, unreadable = cached_pictures(folders[split], wanted, root, use)
    if len(labels) == 0:
        count = len(unreadable)
        what = f"none of its {count} picture files can be read" if count else f"it has no picture for {split}ing"
        known = ", ".join(sorted(PICTURE_SUFFIXES))
        raise ConfigError(f"image_folder: {folder}: {what} (known: {known}; test_fraction: {test_fraction})")
    skipped = skipped_notes(unreadable, outside)
    share = (len(unreadable) + len(outside)) / (len(labels) + len(unreadable) + len(outside))
    if share > MAX_SKIPPED_SHARE and not allow_skipped:
        excess = f"{100 * share:.2g} % would be skipped, which is more than {100 * MAX_SKIPPED_SHARE:g} %"
        raise ConfigError(
            f"image_folder: {folder}: {excess}: {'; '.join(skipped)}; mend them, or do without them by "
            "data.allow_skipped: true (of data show: --allow-skipped)"
        )
    notes, name = (*notes, *skipped), f"{folder.name}/{split}"
    return select(
        pixels, labels, class_names, name=name, classes=classes, limit=limit, size=size, flip=flip, notes=notes
    )


def splits_in(folder: Path) -> list[Path]:
    """The folders of the splits train and test, then others called like a test split; none where file names decide."""
    train, test = ([folder / word for word in words if (folder / word).is_dir()] for words in SPLIT_WORDS.values())
    return [*train, *test] if train and test else []


def check_one_set(path: str) -> None:
    """Raise ParameterError if a folder that is to be compared with holds splits, all but one of which were left out."""
    if splits := splits_in(expanded(path)):
        named = " or ".join(f"{each}/" for each in splits)
        raise ParameterError("against", f"{path} holds several splits; name the folder {named}")


def _class_names(files: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({file.partition("/")[0] for file in files if "/" in file and is_picture(file)})) or (ONE_CLASS,)


def _pictures(files: Sequence[str], class_names: tuple[str, ...]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The labels of the pictures among some files, in the order of their hashes, and a note on what was left out."""
    one = class_names == (ONE_CLASS,)
    names = sorted((file for file in files if is_picture(file)), key=lambda file: (shuffle_key(file), file))
    labels = {name: 0 if one else class_names.index(name.partition("/")[0]) for name in names if one or "/" in name}
    notes = []
    if others := len(files) - len(names):
        notes.append(f"{others} other files are no pictures, by their names")
    if loose := len(names) - len(labels):
        notes.append(f"{loose} pictures lie outside the class folders and are left out")
    return labels, tuple(notes)


Decoded = tuple[UInt8[np.ndarray, "n c h w"], np.ndarray, dict[str, str]]


def cached_pictures(folder: Path, pictures: Mapping[str, int], root: Path, use: dict[str, Any]) -> Decoded:
    """Decode pictures of a folder, or read what an earlier call decoded from the same files.

    `pictures` are labels by file; `use` says how they are decoded (size, channels, limit, max_pixels) and tells
    what is kept apart from the same folder in another use.  Returns pixels, labels, and why files are unreadable.
    """
    states = [(file, label, *_state(folder / file)) for file, label in pictures.items()]
    purpose = json.dumps([str(folder), use])
    key = hashlib.sha256(json.dumps([purpose, PIL.__version__, states]).encode()).hexdigest()
    # One entry for a folder and its settings: it is replaced when a file changes, so the cache does not grow.
    entry = root / "image_folder" / f"{hashlib.sha256(purpose.encode()).hexdigest()[:16]}.npz"
    with locked(entry):
        if (found := _read(entry, key)) is not None:
            return found
        pixels, labels, unreadable = _decode(folder, pictures, use)
        # A full disk costs the next call its time, and nothing else.
        with suppress(OSError), replacing(entry) as path:
            np.savez(path, pixels=pixels, labels=labels, unreadable=json.dumps(unreadable), key=key)
    return pixels, labels, unreadable


def _state(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:  # a link that leads nowhere
        return 0, 0, 0
    # A file that is moved or copied to another's name keeps its time of writing; that of its last change is new.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(entry: Path, key: str) -> Decoded | None:
    try:
        with entry.open("rb") as file, np.load(file) as arrays:
            if str(arrays["key"]) == key:
                return arrays["pixels"], arrays["labels"], json.loads(str(arrays["unreadable"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # none yet, or torn: it is made anew
    return None


def _decode(folder: Path, pictures: Mapping[str, int], use: Mapping[str, Any]) -> Decoded:
    """Decode pictures in their order until `limit` could be read; the others are named with a reason."""
    size, channels = use["size"], use["channels"]

    def decode(path: Path) -> UInt8[np.ndarray, "c h w"]:
        return decoded(path, size, channels, max_pixels=use.get("max_pixels", MAX_PIXELS))

    rows, unreadable = decode_files(folder, list(pictures), decode, limit=use["limit"])
    pixels = np.stack(list(rows.values())) if rows else np.empty((0, channels, size, size), dtype=np.uint8)
    return pixels, np.array([pictures[file] for file in rows], dtype=np.int64), unreadable
