"""Image data sets of the Hugging Face hub by their names, through the library `datasets`."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen, doc

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
from gensweep.data.picture_columns import (
    ROWS_AT_ONCE,
    Columns,
    ImageColumn,
    LabelColumn,
    decoded_rows,
    find_columns,
    of_split,
    rows_of,
)
from gensweep.data.picture_decoding import MAX_PIXELS, MaxPixels
from gensweep.errors import ConfigError, GensweepError, ParameterError
from gensweep.files import expanded


@DATASETS.register("hub")
def hub_images(
    split: Split,
    root: Path,
    *,
    dataset: Annotated[
        str, MinLen(1), doc("its name on the hub, such as ylecun/mnist, or a folder in one of the hub's layouts")
    ],
    subset: Annotated[str | None, doc("which of its configurations, where it has several")] = None,
    revision: Annotated[str | None, doc("commit, tag or branch of its repository; null: the newest")] = None,
    train_split: Annotated[str | None, doc("its split to train on; null: train, or the only one")] = None,
    test_split: Annotated[str | None, doc("its split to test on; null: test, or else validation")] = None,
    image: ImageColumn = None,
    label: LabelColumn = None,
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    channels: Channels = 3,
    test_fraction: TestFraction = 0.1,
    flip: Flip = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> Images:
    """An image data set of the Hugging Face hub, by its name; the library `datasets` fetches it once a machine.

    If it has one split only, a hash of each row's number sets about `test_fraction` of the rows aside for testing.
    Pictures are cropped to the square in the middle and resized.
    Raises ConfigError if `datasets` is not installed, there is no such data set or split, both splits are one, columns
    are missing or several, or a picture cannot be read; GensweepError if the hub cannot be reached.
    """
    if train_split is not None and train_split == test_split:
        raise ParameterError("test_split", f"{test_split} is train_split, too; name another, or leave one of them out")
    parts = _loaded(dataset, subset, revision, root)
    asked: dict[Split, str | None] = {"train": train_split, "test": test_split}
    alone = train_split is None and test_split is None and len(parts) == 1
    found = {each: next(iter(parts)) if alone else _split_name(parts, each, asked) for each in asked}
    if (split_name := found[split]) is None:
        what = f"split {asked[split]}" if asked[split] else f"split for {split}ing"
        problem = f"{dataset} has no {what}; name one of its splits: {', '.join(parts)}"
        raise ParameterError(f"{split}_split", problem)
    rows, both = parts[split_name], [parts[name] for name in found.values() if name is not None]
    columns = find_columns(
        rows.data.schema, image, label, lambda column: chain(*(part.unique(column) for part in both)), dataset
    )
    wanted = of_split(split, test_fraction) if alone else (lambda row: True)
    how = {"size": size, "channels": channels, "max_pixels": max_pixels}
    pixels, labels = decoded_rows(_rows(rows, columns), columns.meaning, wanted, table=dataset, **how)
    if not len(labels):
        raise ConfigError(f"hub: {dataset} has no row for {split}ing (test_fraction: {test_fraction})")
    name = f"{Path(dataset).name}/{split}"
    return select(pixels, labels, columns.names, name=name, classes=classes, limit=limit, size=size, flip=flip)


def _loaded(dataset: str, subset: str | None, revision: str | None, root: Path) -> Mapping[str, Any]:
    """All splits of a data set, by their names."""
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError("data: kind hub needs the library datasets; run: pip install 'gensweep[hub]'")
    from datasets import load_dataset

    folder = expanded(dataset)
    place = str(folder.resolve()) if folder.is_dir() else dataset
    try:
        found: Mapping[str, Any] = load_dataset(place, subset, revision=revision, cache_dir=str(root / "hub"))
    except ConnectionError as error:
        raise GensweepError(
            f"{dataset} is not on this machine, and the hub cannot be reached ({error}); with a network, run: "
            f"gensweep data show hub:{dataset}"
        ) from error
    except Exception as error:  # of files, names, configurations, and whatever its version raises
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ParameterError("dataset", f"{dataset} cannot be loaded by the library datasets: {cause}") from error
    return found


def _split_name(parts: Mapping[str, Any], split: Split, asked: Mapping[Split, str | None]) -> str | None:
    """The name of a split: what the user says, or else the first usual one that is not the other's; None without."""
    if (name := asked[split]) is not None:
        return name if name in parts else None
    return next((name for name in SPLIT_WORDS[split] if name in parts and name not in asked.values()), None)


def _rows(rows: Any, columns: Columns) -> Iterator[tuple[Any, Any]]:
    """Pictures, as encoded bytes, and labels; pictures of a folder are named in the table, and lie in their files."""
    for batch in rows.select_columns(columns.wanted).with_format("arrow").iter(ROWS_AT_ONCE):
        for picture, label in rows_of(batch, columns):
            apart = isinstance(picture, dict) and picture["bytes"] is None and picture["path"] is not None
            yield (Path(picture["path"]).read_bytes() if apart else picture), label
