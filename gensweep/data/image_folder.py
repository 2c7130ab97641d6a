"""A folder of pictures as a data set: classes from its subfolders, or one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from annotated_types import doc

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
from gensweep.data.picture_decoding import PICTURE_SUFFIXES
from gensweep.data.picture_files import (
    DecodedPictures,
    cached_pictures,
    counted,
    first_of,
    is_picture,
    list_files,
    shuffle_key,
    skipped_notes,
)
from gensweep.data.url_folder import local_copy
from gensweep.errors import ConfigError, ParameterError
from gensweep.files import expanded
from gensweep.remote_folder import is_url

# Class name of a folder without subfolders.
ONE_CLASS = "image"
#: Share of unreadable pictures above which the user has to agree.
MAX_SKIPPED_SHARE = 0.01


@DATASETS.register("image_folder")
def image_folder(
    split: Split,
    root: Path,
    *,
    path: Annotated[str, doc("folder, or a URL such as s3://bucket/pictures")],
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    channels: Channels = 3,
    test_fraction: TestFraction = 0.1,
    flip: Flip = True,
    allow_skipped: Annotated[bool, doc("whether more than 1 % of the pictures may be skipped as unreadable")] = False,
) -> Images:
    """Pictures in a folder: classes from its subfolders, or one class.

    Pictures are cropped to the central square and resized, see `picture_decoding`.
    Subfolders `train` and `test` (or else `validation`, `valid` or `val`) are the splits.  Without them, a hash of each
    file name sets about `test_fraction` of the pictures aside for testing; adding pictures never moves others between
    the splits.  Pictures come in the order of these hashes, so `limit` keeps a fair mix of classes.
    Links, unreadable files and pictures above MAX_PIXELS are skipped, counted and named in the notes.
    New files of a folder at a URL are fetched into the machine's cache.
    Raises ConfigError if the folder does not exist, has no readable picture, or has too many unreadable ones.
    """
    settings: dict[str, Any] = {"classes": classes, "limit": limit, "size": size, "channels": channels}
    return read_split(split, root, path=path, test_fraction=test_fraction, **settings).images(flip, allow_skipped)


@dataclass(frozen=True, eq=False)
class FolderSplit:
    """A split of a folder of pictures, even if training refuses it.

    `names` are the decoded files, relative to the folder of all splits.  `notes` describe the split and files that are
    not pictures; `skipped` describes the pictures that are left out.  `refusal` is why training refuses the split until
    the user allows it, or "".
    """

    root: Path
    split: Split
    class_names: tuple[str, ...]
    decoded: DecodedPictures
    names: tuple[str, ...]
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    refusal: str
    settings: Mapping[str, Any]

    def images(self, flip: bool, allow_skipped: bool) -> Images:
        """The data set.  Raises ConfigError if it is empty or skips too much."""
        details = f": {'; '.join(self.skipped)}" if self.skipped else ""
        if not self.names:
            what = f"it has no picture for {self.split}ing"
            if unreadable := len(self.decoded.unreadable):
                what = f"no picture file of {unreadable} can be read"
            known = f"known: {', '.join(sorted(PICTURE_SUFFIXES))}; test_fraction: {self.settings['test_fraction']}"
            raise ConfigError(f"image_folder: {self.root}: {what} ({known}){details}")
        if self.refusal and not allow_skipped:
            raise ConfigError(f"image_folder: {self.root}: {self.refusal}{details}")
        return select(
            self.decoded.pixels,
            self.decoded.labels,
            self.class_names,
            name=f"{self.root.name}/{self.split}",
            flip=flip,
            notes=(*self.notes, *self.skipped),
            **{key: self.settings[key] for key in ("classes", "limit", "size")},
        )


def read_split(
    split: Split,
    root: Path,
    *,
    path: str,
    classes: Classes,
    limit: Limit,
    size: Size,
    channels: Channels,
    test_fraction: TestFraction,
) -> FolderSplit:
    """Read a split for `image_folder`.  Raises ConfigError if the folder or a class does not exist."""
    folder = local_copy(path, root).resolve() if is_url(path) else expanded(path).resolve()
    if not folder.is_dir():
        raise ParameterError("path", f"{folder} is not a folder; name the folder of your pictures")
    given = splits_in(folder)
    folders = dict(zip(SPLIT_WORDS, given, strict=False)) if given else {split: folder}
    for each in folders.values():
        if not each.resolve().is_relative_to(folder):
            problem = f"{each} links to a place outside the folder; put both splits inside it"
            raise ParameterError("path", problem)
    listings = {name: list_files(each) for name, each in folders.items()}
    # Labels count over both splits, so that they agree even if one split lacks a class.
    class_names = class_names_of([file for listing in listings.values() for file in listing.files])
    pictures, notes = labelled_pictures(listings[split].files, class_names)
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
            total = counted(everything, "picture", "pictures")
            notes = (*notes, f"{total}, split by their names: {train} to train on, {test} to test on")
    use: dict[str, Any] = {"size": size, "channels": channels, "limit": limit, "split": split, "classes": classes}
    decoded = cached_pictures(folders[split], wanted, root, use)
    # Decode files in order until there are enough.
    files = islice((file for file in wanted if file not in decoded.unreadable), len(decoded.labels))
    names = tuple((folders[split] / file).relative_to(folder).as_posix() for file in files)
    return FolderSplit(
        folder,
        split,
        class_names,
        decoded,
        names,
        notes,
        skipped_notes(decoded.unreadable, listings[split]),
        _refusal(len(decoded.unreadable) + len(listings[split].links), len(names)),
        {**use, "test_fraction": test_fraction},
    )


def _refusal(skipped: int, read: int) -> str:
    share = skipped / max(1, read + skipped)
    if share <= MAX_SKIPPED_SHARE:
        return ""
    return (
        f"{100 * share:.2g} % would be skipped, but at most {100 * MAX_SKIPPED_SHARE:g} % may be; fix or remove "
        "these files and links, or set data.allow_skipped: true"
    )


def splits_in(folder: Path) -> list[Path]:
    """Folders of train and test, then unused test-like splits; none if file names decide."""
    train, test = ([folder / word for word in words if (folder / word).is_dir()] for words in SPLIT_WORDS.values())
    return [*train, *test] if train and test else []


def check_one_set(path: str) -> None:
    """Raise ParameterError if a reference folder has several splits, of which only one would be used."""
    if splits := splits_in(expanded(path)):
        named = " or ".join(f"{each}/" for each in splits)
        raise ParameterError("against", f"{path} holds several splits; name the folder {named}")


def class_names_of(files: Sequence[str]) -> tuple[str, ...]:
    """The folders at the top that have pictures, or one class."""
    return tuple(sorted({file.partition("/")[0] for file in files if "/" in file and is_picture(file)})) or (ONE_CLASS,)


def labelled_pictures(files: Sequence[str], class_names: tuple[str, ...]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Labels of the pictures among some files, in the order of their hashes, and notes on skipped files."""
    one = class_names == (ONE_CLASS,)
    names = sorted((file for file in files if is_picture(file)), key=lambda file: (shuffle_key(file), file))
    labels = {name: 0 if one else class_names.index(name.partition("/")[0]) for name in names if one or "/" in name}
    notes = []
    if others := [file for file in files if not is_picture(file)]:
        is_none = counted(len(others), "other file is not a picture", "other files are not pictures")
        suffixes = Counter(PurePosixPath(file).suffix.lower() or "no suffix" for file in others)
        notes.append(f"{is_none}, by name ({first_of([suffix for suffix, _ in suffixes.most_common()])})")
    if loose := len(names) - len(labels):
        is_loose = counted(
            loose, "picture is outside the class folders and is", "pictures are outside the class folders and are"
        )
        notes.append(f"{is_loose} left out")
    return labels, tuple(notes)
