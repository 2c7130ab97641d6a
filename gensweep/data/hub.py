"""Image data sets of the Hugging Face hub, or local folders in its layouts (such as Parquet), through `datasets`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from annotated_types import MinLen, doc

from gensweep.data.image_folder import ONE_CLASS
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
    select,
)
from gensweep.data.picture_decoding import decoded
from gensweep.data.picture_files import shuffle_key
from gensweep.errors import ConfigError, GensweepError, ParameterError
from gensweep.files import expanded

#: Rows to read at a time.
ROWS_AT_ONCE = 256


class _Columns(NamedTuple):
    """Columns of pictures and labels, class names, and the class of each label value."""

    image: str
    label: str | None
    names: tuple[str, ...]
    meaning: Mapping[Any, int]


@DATASETS.register("hub")
def hub_images(
    split: Split,
    root: Path,
    *,
    dataset: Annotated[
        str, MinLen(1), doc("name on the hub, such as ylecun/mnist, or a folder in one of the hub's layouts")
    ],
    subset: Annotated[str | None, doc("configuration of the data set, if it has several")] = None,
    revision: Annotated[str | None, doc("commit, tag or branch of its repository; null: the newest")] = None,
    train_split: Annotated[str | None, doc("split for training; null: train, or the only one")] = None,
    test_split: Annotated[str | None, doc("split for testing; null: test, else validation")] = None,
    image: Annotated[str | None, doc("column of pictures; null: the only one")] = None,
    label: Annotated[str | None, doc("column of labels; null: the only one with class labels, else one class")] = None,
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    channels: Channels = 3,
    test_fraction: TestFraction = 0.1,
    flip: Flip = False,
) -> Images:
    """An image data set of the Hugging Face hub; the library `datasets` fetches it once per machine.

    With a single split, a hash of each row's number sets about `test_fraction` of the rows aside for testing.
    Pictures are cropped to the central square and resized.
    Raises ConfigError if `datasets` is not installed, the data set or split does not exist, both splits are the same,
    columns are missing or ambiguous, or a picture is unreadable; GensweepError if the hub is unreachable.
    """
    if train_split is not None and train_split == test_split:
        raise ParameterError("test_split", f"{test_split} is also train_split; name another split, or remove one")
    parts = _loaded(dataset, subset, revision, root)
    asked: dict[Split, str | None] = {"train": train_split, "test": test_split}
    alone = train_split is None and test_split is None and len(parts) == 1
    found = {each: next(iter(parts)) if alone else _split_name(parts, each, asked) for each in asked}
    if (split_name := found[split]) is None:
        what = f"split {asked[split]}" if asked[split] else f"split for {split}ing"
        problem = f"{dataset} has no {what}; name one of its splits: {', '.join(parts)}"
        raise ParameterError(f"{split}_split", problem)
    rows, both = parts[split_name], [parts[name] for name in found.values() if name is not None]
    columns = _find_columns(rows, both, image, label, dataset)
    pixels, labels = list[np.ndarray](), list[int]()
    for row, (picture, value) in enumerate(_rows(rows, columns)):
        if alone and (shuffle_key(str(row)) < test_fraction) != (split == "test"):
            continue
        try:
            pixels.append(decoded(io.BytesIO(_content(picture)), size, channels))
        except Exception as error:  # decoders raise many types
            cause = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"row {row} of {dataset} is not a picture ({cause})") from None
        if value not in columns.meaning:
            raise ConfigError(f"row {row} of {dataset} has the label {value!r}, which is not a class")
        labels.append(columns.meaning[value])
    if not labels:
        raise ConfigError(f"hub: {dataset} has no row for {split}ing (test_fraction: {test_fraction})")
    name, numbers = f"{Path(dataset).name}/{split}", np.array(labels, dtype=np.int64)
    stacked = np.stack(pixels)
    return select(stacked, numbers, columns.names, name=name, classes=classes, limit=limit, size=size, flip=flip)


def _loaded(dataset: str, subset: str | None, revision: str | None, root: Path) -> Mapping[str, Any]:
    """All splits of a data set by name."""
    try:
        from datasets import load_dataset
    except ImportError:
        raise ConfigError("data: kind hub needs the library datasets; run: pip install 'gensweep[hub]'") from None
    folder = expanded(dataset)
    place = str(folder.resolve()) if folder.is_dir() else dataset
    try:
        found: Mapping[str, Any] = load_dataset(place, subset, revision=revision, cache_dir=str(root / "hub"))
    except ConnectionError as error:
        raise GensweepError(
            f"{dataset} is not on this machine, and the hub is unreachable ({error}); with a network, run: "
            f"gensweep data show hub:{dataset}"
        ) from error
    except Exception as error:  # depends on files, names, configurations and the version of `datasets`
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ParameterError("dataset", f"{dataset} cannot be loaded by the library datasets: {cause}") from error
    return found


def _split_name(parts: Mapping[str, Any], split: Split, asked: Mapping[Split, str | None]) -> str | None:
    """The split that the user names, else the first usual name other than the other split's; None without one."""
    if (name := asked[split]) is not None:
        return name if name in parts else None
    return next((name for name in SPLIT_WORDS[split] if name in parts and name not in asked.values()), None)


def _find_columns(rows: Any, both: list[Any], image: str | None, label: str | None, dataset: str) -> _Columns:
    """The columns that the user names, else the only ones of their kind.  Raises ConfigError if ambiguous.

    Unnamed labels are numbered over both splits, so that numbers agree even if one split lacks a class.
    """
    from datasets import ClassLabel, Image

    features = rows.features
    pictures = [
        key for key, kind in features.items() if isinstance(kind, Image) or (isinstance(kind, dict) and "bytes" in kind)
    ]
    named = [key for key, kind in features.items() if isinstance(kind, ClassLabel)]
    image = image or _only(pictures, "image", "pictures", list(features), dataset)
    if label is None and named:
        label = _only(named, "label", "class labels", list(features), dataset)
    for key, name in (("image", image), ("label", label)):
        if name is not None and name not in features:
            raise ParameterError(key, f"{dataset} has no column {name!r} (its columns: {', '.join(features)})")
    if label is None:
        return _Columns(image, None, (ONE_CLASS,), {None: 0})
    if label in named:
        names = features[label].names
        return _Columns(image, label, tuple(names), {index: index for index in range(len(names))})
    try:
        values = sorted(set(chain(*(part.unique(label) for part in both))) - {None})
    except (TypeError, NotImplementedError):  # unhashable or unordered, in Arrow or Python
        problem = f"the column {label!r} of {dataset} holds lists or mixed types; name a column of words or numbers"
        raise ParameterError("label", problem) from None
    return _Columns(image, label, tuple(map(str, values)), {value: index for index, value in enumerate(values)})


def _only(found: list[str], key: str, what: str, columns: list[str], dataset: str) -> str:
    if len(found) == 1:
        return found[0]
    several = f"several columns of {what}" if found else f"no column of {what}"
    raise ParameterError(key, f"{dataset} has {several}; name one of its columns: {', '.join(found or columns)}")


def _rows(rows: Any, columns: _Columns) -> Iterator[tuple[Any, Any]]:
    """Encoded pictures, and labels."""
    wanted = [name for name in (columns.image, columns.label) if name is not None]
    for batch in rows.select_columns(wanted).with_format("arrow").iter(ROWS_AT_ONCE):
        labels = [None] * len(batch) if columns.label is None else batch[columns.label].to_pylist()
        yield from zip(batch[columns.image].to_pylist(), labels, strict=True)


def _content(picture: Any) -> bytes:
    """Bytes of an encoded picture, which may be a file."""
    found = picture["bytes"] if isinstance(picture, dict) else picture
    return Path(picture["path"]).read_bytes() if found is None else found
