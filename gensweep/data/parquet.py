"""Image data sets as the Hugging Face hub keeps them: Parquet files with a column of encoded pictures."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from annotated_types import doc
from jaxtyping import Int64, UInt8

from gensweep.data.image_folder import ONE_CLASS
from gensweep.data.images import DATASETS, Channels, Classes, Flip, Images, Limit, Size, Split, TestFraction, select
from gensweep.data.picture_decoding import MAX_PIXELS, MaxPixels, decoded
from gensweep.data.picture_files import MAX_FILES_NAMED
from gensweep.data.url_folder import local_copy
from gensweep.errors import ConfigError, ParameterError
from gensweep.remote_folder import is_url

#: Rows that are read at a time.
ROWS_AT_ONCE = 256
#: What a file of each split has in its name, in the order in which it is looked for.
SPLIT_WORDS: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "test": ("test", "validation", "valid", "val")}


class Columns(NamedTuple):
    """Where pictures and labels stand in a file, the classes, and which one a label means; or there is one class."""

    image: str
    label: str | None
    names: tuple[str, ...]
    meaning: Mapping[Any, int]


@DATASETS.register("parquet")
def parquet_images(
    split: Split,
    root: Path,
    *,
    path: Annotated[str, doc("a file, a folder of files, or a URL of one")],
    image: Annotated[str | None, doc("column of pictures; null: the only one")] = None,
    label: Annotated[str | None, doc("column of labels; null: the only one of class labels, else one class")] = None,
    classes: Classes = None,
    limit: Limit = None,
    size: Size = 32,
    channels: Channels = 3,
    test_fraction: TestFraction = 0.1,
    flip: Flip = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> Images:
    """An image data set in Parquet files, in the layout of the Hugging Face hub: a file, a folder, or a URL of one.

    Files are of the split that their names or folders say (train-00000-of-00002.parquet; validation counts as test);
    where none says so, a hash of each row's number decides, so that about `test_fraction` of the rows are for testing.
    The names of classes stand in the file.  Pictures are cropped to the square in the middle and resized.
    Raises ConfigError if there is no such file, if columns are missing or several, or a picture cannot be read.
    """
    files = _files(local_copy(path, root) if is_url(path) else Path(path).expanduser().resolve())
    parts = {each: [file for file in files if _is_of(file, words)] for each, words in SPLIT_WORDS.items()}
    given = bool(parts["train"])
    inside = parts[split] if given else files
    if not inside:
        raise ParameterError("path", f"{path} has no file of the split {split} (its files: {_names(files)})")
    columns = _columns(inside, image, label)
    wanted = _test_or_not(split, test_fraction) if not given else (lambda row: True)
    pixels, labels = _decoded_rows(inside, columns, wanted, size=size, channels=channels, max_pixels=max_pixels)
    name = f"{Path(path).name.removesuffix('.parquet')}/{split}"
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


def _is_of(file: Path, words: tuple[str, ...]) -> bool:
    """Whether a file's name begins with a word for the split, or its folder is called so."""
    return file.name.partition("-")[0].partition(".")[0] in words or file.parent.name in words


def _test_or_not(split: Split, fraction: float) -> Callable[[int], bool]:
    def wanted(row: int) -> bool:
        digest = hashlib.sha256(str(row).encode()).digest()
        return (int.from_bytes(digest[:6]) / 2**48 < fraction) == (split == "test")

    return wanted


def _columns(files: list[Path], image: str | None, label: str | None) -> Columns:
    """Raises ConfigError if the columns that were named are not there, or those to take cannot be told."""
    file = files[0]
    try:
        schema = pq.read_schema(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"parquet: {file} cannot be read ({error}); fetch it again") from error
    hub = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    described: dict[str, dict[str, Any]] = hub.get("info", {}).get("features", {})
    types = {name: schema.field(name).type for name in schema.names}
    pictures = [
        name
        for name, kind in types.items()
        if described.get(name, {}).get("_type") == "Image" or "bytes" in {field.name for field in _fields(kind)}
    ]
    labels = [name for name in schema.names if described.get(name, {}).get("_type") == "ClassLabel"]
    image = image or _only(pictures, "image", "pictures", schema.names, file)
    label = label or (labels[0] if len(labels) == 1 else None)
    if label is None and labels:
        label = _only(labels, "label", "class labels", schema.names, file)
    for key, name in (("image", image), ("label", label)):
        if name is not None and name not in types:
            raise ParameterError(key, f"{file.name} has no column {name!r} (its columns: {', '.join(schema.names)})")
    if label is None:
        return Columns(image, None, (ONE_CLASS,), {None: 0})
    if names := described.get(label, {}).get("names"):
        return Columns(image, label, tuple(names), {index: index for index in range(len(names))})
    values = sorted({value for each in files for value in pq.read_table(each, columns=[label])[label].to_pylist()})
    return Columns(image, label, tuple(map(str, values)), {value: index for index, value in enumerate(values)})


def _fields(kind: Any) -> list[Any]:
    return [kind.field(index) for index in range(kind.num_fields)]


def _only(found: list[str], key: str, what: str, columns: list[str], file: Path) -> str:
    if len(found) == 1:
        return found[0]
    several = f"several columns of {what}" if found else f"no column of {what}"
    raise ParameterError(key, f"{file.name} has {several}; name one of its columns: {', '.join(found or columns)}")


def _rows(files: list[Path], columns: Columns) -> Iterator[tuple[dict[str, Any] | bytes, Any]]:
    wanted = [name for name in (columns.image, columns.label) if name is not None]
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_ONCE, columns=wanted):
            labels = [None] * len(batch) if columns.label is None else batch[columns.label].to_pylist()
            yield from zip(batch[columns.image].to_pylist(), labels, strict=True)


def _decoded_rows(
    files: list[Path], columns: Columns, wanted: Callable[[int], bool], *, size: int, channels: int, max_pixels: int
) -> tuple[UInt8[np.ndarray, "n c h w"], Int64[np.ndarray, " n"]]:
    pixels, labels = list[np.ndarray](), list[int]()
    for row, (picture, label) in enumerate(_rows(files, columns)):
        if not wanted(row):
            continue
        content = picture["bytes"] if isinstance(picture, dict) else picture
        try:
            pixels.append(decoded(io.BytesIO(content), size, channels, max_pixels=max_pixels))
        except Exception as error:  # decoders raise all sorts of things
            cause = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"parquet: row {row} of {_names(files)} is no picture ({cause}); mend the file") from None
        if label not in columns.meaning:
            raise ConfigError(f"parquet: row {row} of {_names(files)} has the label {label!r}, which names no class")
        labels.append(columns.meaning[label])
    stacked = np.stack(pixels) if pixels else np.empty((0, channels, size, size), dtype=np.uint8)
    return stacked, np.array(labels, dtype=np.int64)
