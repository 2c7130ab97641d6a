"""Tables of encoded pictures and labels, as the Hugging Face hub describes them: which column is which, and pixels."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from annotated_types import doc
from jaxtyping import Int64, UInt8

from gensweep.data.image_folder import ONE_CLASS
from gensweep.data.images import Split
from gensweep.data.picture_decoding import decoded
from gensweep.errors import ConfigError, ParameterError

#: Rows that are read at a time.
ROWS_AT_ONCE = 256

ImageColumn: TypeAlias = Annotated[str | None, doc("column of pictures; null: the only one")]
LabelColumn: TypeAlias = Annotated[
    str | None, doc("column of labels; null: the only one of class labels, else one class")
]


class Columns(NamedTuple):
    """Where pictures and labels stand in a table, the classes, and which one a label means; or there is one class."""

    image: str
    label: str | None
    names: tuple[str, ...]
    meaning: Mapping[Any, int]

    @property
    def wanted(self) -> list[str]:
        """The columns to read."""
        return [name for name in (self.image, self.label) if name is not None]


def find_columns(
    schema: pa.Schema, image: str | None, label: str | None, values: Callable[[str], Iterable[Any]], table: str
) -> Columns:
    """The columns of a table that are named, or the only ones of their kind.

    `values` gives all those of a column, of both splits, so that labels mean the same even if one lacks a class.
    Raises ConfigError if the columns that were named are not there, or those to take cannot be told.
    """
    if len(set(schema.names)) < len(schema.names):
        raise ConfigError(f"{table} has two columns of one name (its columns: {', '.join(schema.names)}); rename one")
    described = _described(schema, table)
    types = {name: schema.field(name).type for name in schema.names}
    pictures = [
        name
        for name, kind in types.items()
        if described.get(name, {}).get("_type") == "Image" or "bytes" in {field.name for field in _fields(kind)}
    ]
    labels = [name for name in schema.names if described.get(name, {}).get("_type") == "ClassLabel"]
    image = image or _only(pictures, "image", "pictures", schema.names, table)
    label = label or (labels[0] if len(labels) == 1 else None)
    if label is None and labels:
        label = _only(labels, "label", "class labels", schema.names, table)
    for key, name in (("image", image), ("label", label)):
        if name is not None and name not in types:
            raise ParameterError(key, f"{table} has no column {name!r} (its columns: {', '.join(schema.names)})")
    if label is None:
        return Columns(image, None, (ONE_CLASS,), {None: 0})
    if names := described.get(label, {}).get("names"):
        return Columns(image, label, tuple(names), {index: index for index in range(len(names))})
    try:
        found = sorted(set(values(label)) - {None})
    except (TypeError, NotImplementedError):  # no hash or no order, of Arrow's or of Python's
        problem = (
            f"the column {label!r} of {table} holds lists, or values of several types; name one of words or numbers"
        )
        raise ParameterError("label", problem) from None
    return Columns(image, label, tuple(map(str, found)), {value: index for index, value in enumerate(found)})


def _described(schema: pa.Schema, table: str) -> dict[str, dict[str, Any]]:
    """What the hub says of columns, by name."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        # Before its version 4, the library describes a column of lists by a list.
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, AttributeError):  # no JSON, or of another form
        raise ConfigError(f"{table} has a damaged description of its columns (huggingface); fetch it again") from None


def _fields(kind: Any) -> list[Any]:
    return [kind.field(index) for index in range(kind.num_fields)]


def _only(found: list[str], key: str, what: str, columns: list[str], table: str) -> str:
    if len(found) == 1:
        return found[0]
    several = f"several columns of {what}" if found else f"no column of {what}"
    raise ParameterError(key, f"{table} has {several}; name one of its columns: {', '.join(found or columns)}")


def rows_of(batch: Any, columns: Columns) -> Iterable[tuple[Any, Any]]:
    """Pictures and labels of an Arrow table or batch."""
    labels = [None] * len(batch) if columns.label is None else batch[columns.label].to_pylist()
    return zip(batch[columns.image].to_pylist(), labels, strict=True)


def of_split(split: Split, fraction: float) -> Callable[[int], bool]:
    """Which rows, by number, are of a split, where nothing but a hash of the number decides."""

    def wanted(row: int) -> bool:
        digest = hashlib.sha256(str(row).encode()).digest()
        return (int.from_bytes(digest[:6]) / 2**48 < fraction) == (split == "test")

    return wanted


def decoded_rows(
    rows: Iterable[tuple[Any, Any]],
    meaning: Mapping[Any, int],
    wanted: Callable[[int], bool],
    *,
    size: int,
    channels: int,
    max_pixels: int,
    table: str,
) -> tuple[UInt8[np.ndarray, "n c h w"], Int64[np.ndarray, " n"]]:
    """The pictures and labels of the rows that are wanted, by their number.

    A picture is encoded bytes, or a mapping that has them as "bytes".  Raises ConfigError for a row of the `table` that
    is no picture, or whose label has no meaning.
    """
    pixels, labels = list[np.ndarray](), list[int]()
    for row, (picture, label) in enumerate(rows):
        if not wanted(row):
            continue
        try:
            content = picture["bytes"] if isinstance(picture, dict) else picture
            pixels.append(decoded(io.BytesIO(content), size, channels, max_pixels=max_pixels))
        except Exception as error:  # decoders raise all sorts of things
            cause = " ".join(str(error).split()) or type(error).__name__
            raise ConfigError(f"row {row} of {table} is no picture ({cause}); mend it") from None
        if label not in meaning:
            raise ConfigError(f"row {row} of {table} has the label {label!r}, which names no class")
        labels.append(meaning[label])
    stacked = np.stack(pixels) if pixels else np.empty((0, channels, size, size), dtype=np.uint8)
    return stacked, np.array(labels, dtype=np.int64)
