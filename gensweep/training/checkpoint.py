"""Checkpoints: a folder with state.safetensors, checkpoint.json, and the files of `result_files`.

Its tensors are hashed, and nothing is ever unpickled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.files import file_sha256, parse_json, write_tensors
from gensweep.results import Record

#: Version of the layout below; other versions are rejected.
CHECKPOINT_FORMAT = 1
STATE_FILE = "state.safetensors"
CHECKPOINT_FILE = "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint(Record):
    """The content of checkpoint.json.

    `metadata` is the caller's, usually the configuration.  `metrics` are the numbers of the last report, `identities`
    those of its scores.  `shape` is (c, h, w) of an image, and `class_counts` the number of training images by class.
    `weights` is the name prefix of the sampling weights.  `kernels` is "c++" or "torch" (`kernels.active`), and
    `length` the number of images after which training ends.
    """

    images: int
    seed: int
    family: str
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    weights: str
    metadata: dict[str, Any]
    metrics: dict[str, int | float] = field(default_factory=dict)
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)
    kernels: str | None = None
    length: int | None = None
    sha256: str = ""
    format: int = CHECKPOINT_FORMAT


def save(
    folder: Path,
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    *,
    also: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Write a checkpoint to a folder, replacing its content; `also` writes more files.

    Raises GensweepError and removes the folder if writing fails.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        write_tensors(folder / STATE_FILE, tensors)
        record = checkpoint.as_dict() | {"sha256": file_sha256(folder / STATE_FILE)}
        (folder / CHECKPOINT_FILE).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        also(folder)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError | SafetensorError):
            raise GensweepError(f"the checkpoint {folder} cannot be written ({error}); is the disk full?") from error
        raise


def read(folder: Path) -> Checkpoint:
    """Read checkpoint.json.  Raises GensweepError if it is missing, damaged or newer than this version."""
    file = folder / CHECKPOINT_FILE
    try:
        record = parse_json(file.read_text())
        version = record["format"]
        if version != CHECKPOINT_FORMAT:
            raise GensweepError(
                f"{file} has format {version}, but this version of gensweep reads format {CHECKPOINT_FORMAT}"
            )
        return Checkpoint.from_dict(record)
    except FileNotFoundError:
        raise GensweepError(f"{folder} is not a checkpoint: it has no {CHECKPOINT_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GensweepError(f"{file} is damaged ({error}); use another checkpoint") from None


def verify(folder: Path) -> Checkpoint:
    """Read checkpoint.json and check the tensors' hash.  Raises GensweepError that names the damaged file."""
    checkpoint = read(folder)
    file = folder / STATE_FILE
    try:
        actual = file_sha256(file)
    except OSError as error:
        raise GensweepError(f"{file} cannot be read ({error.strerror}); use another checkpoint") from None
    if actual != checkpoint.sha256:
        raise GensweepError(
            f"{file} is damaged: its SHA-256 is {actual[:12]}... instead of {checkpoint.sha256[:12]}...; "
            "use another checkpoint"
        )
    return checkpoint


def load_tensors(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix, under their full names, after checking the hash."""
    verify(folder)
    with safe_open(folder / STATE_FILE, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def tensor_names(folder: Path) -> list[str]:
    """Names of all tensors, from the file's header.  Raises GensweepError if it is unreadable."""
    try:
        with safe_open(folder / STATE_FILE, framework="pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise GensweepError(f"{folder / STATE_FILE} cannot be read ({error}); use another checkpoint") from None
