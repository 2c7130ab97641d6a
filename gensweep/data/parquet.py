"""Image data sets as the Hugging Face hub keeps them: Parquet files with a column of encoded pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
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
from gensweep.data.picture_files import MAX_FILES_NAMED
from gensweep.data.url_folder import local_copy
from gensweep.errors import ConfigError, ParameterError
from gensweep.files import expanded
from gensweep.remote_folder import is_url, split_place


@DATASETS.register("parquet")
def parquet_images(
    split: Split,
    root: Path,
    *,
    path: Annotated[str, doc("a file, a folder of files, or a URL of one")],
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
    """An image data set in Parquet files, in the layout of the Hugging Face hub: a file, a folder, or a URL of one.

    Files are of the split that their names say (train-00000-of-00002.parquet; validation counts as test), or else the
    folders below `path` in which they lie; where none says so, a hash of each row's number decides, so that about
    `test_fraction` of the rows are for testing.  The names of classes stand in the file.  Pictures are cropped to the
    square in the middle and resized.
    Raises ConfigError if there is no such file, if columns are missing or several, or a picture cannot be read.
    """
    place = local_copy(path, root) if is_url(path) else expanded(path).resolve()
    files = _files(place)
    parts = {each: [file for file in files if _split_of(file, place) == each] for each in SPLIT_WORDS}
    given = bool(parts["train"])
    inside = parts[split] if given else files
    if not inside:
        raise ParameterError("path", f"{path} has no file of the split {split} (its files: {_names(files)})")
    both = [*parts["train"], *parts["test"]] if given else files
    columns = find_columns(_schema(inside[0]), image, label, partial(_values, both), inside[0].name)
    wanted = of_split(split, test_fraction) if not given else (lambda row: True)
    how = {"size": size, "channels": channels, "max_pixels": max_pixels}
    pixels, labels = decoded_rows(_rows(inside, columns), columns.meaning, wanted, table=_names(inside), **how)
    name = f"{split_place(path)[1].removesuffix('.parquet')}/{split}"
    if not len(labels):
        raise ConfigError(f"parquet: {path} has no row for {split}ing (test_fraction: {test_fraction})")
    return select(pixels, labels, columns.names, name=name, classes=classes, limit=limit, size=size, flip=flip)


def _files(place: Path) -> list[Path]:
    files = [place] if place.is_file() else sorted(place.rglob("*.parquet")) if place.is_dir() else []
    if not files:
        what = "holds no .parquet file" if place.is_dir() else "is neither a file nor a folder"
        raise ParameterError("path", f"{place} {what}; name one in the layout of the Hugging Face hub")
    return files


def _names(files: list[Path]) -> str:
    more = f", and {len(files) - MAX_FILES_NAMED} more" if len(files) > MAX_FILES_NAMED else ""
    return ", ".join(file.name for file in files[:MAX_FILES_NAMED]) + more


def _split_of(file: Path, place: Path) -> Split | None:
    """The split that a file's name begins with a word for, or else the nearest folder below `place` is called by."""
    names = (file.name.partition("-")[0].partition(".")[0], *reversed(file.relative_to(place).parent.parts))
    return next((split for name in names for split, words in SPLIT_WORDS.items() if name in words), None)


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    """A file to read from; raises ConfigError where it is damaged."""
    try:
        with pq.ParquetFile(file) as table:
            yield table
    except (OSError, ValueError) as error:  # Arrow's own are among them
        cause = " ".join(str(error).split())
        raise ConfigError(f"parquet: {file} cannot be read ({cause}); fetch it again") from error


def _schema(file: Path) -> pa.Schema:
    with _opened(file) as table:
        return table.schema_arrow


def _values(files: list[Path], column: str) -> Iterator[Any]:
    """The values of a column; of files that lack it there are none."""
    for file in files:
        with _opened(file) as table:
            if column in table.schema_arrow.names:
                for batch in table.iter_batches(columns=[column]):
                    yield from batch[column].to_pylist()


def _rows(files: list[Path], columns: Columns) -> Iterator[tuple[Any, Any]]:
    for file in files:
        with _opened(file) as table:
            if lacking := [name for name in columns.wanted if name not in table.schema_arrow.names]:
                raise ConfigError(
                    f"parquet: {file} has no column {lacking[0]!r}, which {files[0].name} has (its columns: "
                    f"{', '.join(table.schema_arrow.names)}); name it alike in all files, or move the file away"
                )
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=columns.wanted):
                yield from rows_of(batch, columns)
