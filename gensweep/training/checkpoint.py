"""Checkpoints: a folder with state.safetensors, checkpoint.json, samples.png and what else the trial can say.

That is estimates.json, how sure its scores are, schedule.png, of a schedule that was learnt, and suspects.png, if a
metric looked for copies of training images.

A folder is written under another name and renamed, its tensors are hashed, and nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.files import replace_folder

__all__ = [
    "CHECKPOINTS_KEPT",
    "CHECKPOINT_FORMAT",
    "ESTIMATES_FILE",
    "SAMPLES_FILE",
    "SCHEDULE_FILE",
    "SUSPECTS_FILE",
    "Checkpoint",
    "latest",
    "load_tensors",
    "read",
    "save",
    "tensor_names",
    "verify",
]

#: The version of the layout below; other versions are refused.
CHECKPOINT_FORMAT = 1
#: Checkpoints of a training that are kept: one more than needed, in case the last one is damaged.
CHECKPOINTS_KEPT = 2
STATE_FILE = "state.safetensors"
CHECKPOINT_FILE = "checkpoint.json"
SAMPLES_FILE = "samples.png"
SCHEDULE_FILE = "schedule.png"
SUSPECTS_FILE = "suspects.png"
ESTIMATES_FILE = "estimates.json"


@dataclass(frozen=True)
class Checkpoint:
    """What checkpoint.json says.

    `metadata` is the caller's, usually the effective configuration; `metrics` the report that came with the checkpoint
    and `identities` what its scores were measured with, by metric.  `shape` is (channels, height, width) of an image
    and `class_counts` the numbers of training images, by class.  `weights` is the prefix of the tensors that draw
    samples.  `kernels` is what the training ran on, "c++" or "torch" (`nn.kernels.active`); old checkpoints do not say.
    """

    images: int
    seconds: dict[str, float]
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
    sha256: str = ""
    format: int = CHECKPOINT_FORMAT


def save(
    root: Path,
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    *,
    also: Callable[[Path], None] | None = None,
    keep: int = CHECKPOINTS_KEPT,
) -> Path:
    """Write a checkpoint into a new folder of `root`, and delete all but the newest `keep`.

    `also` may put more files into the folder before it gets its name.  Raises GensweepError if it cannot be written.
    """
    folder = root / f"images-{checkpoint.images:012d}"
    aside = root / f".{folder.name}.{os.getpid()}"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, aside / STATE_FILE)
        record = asdict(checkpoint) | {"sha256": _sha256(aside / STATE_FILE)}
        (aside / CHECKPOINT_FILE).write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
        if also is not None:
            also(aside)
        replace_folder(aside, folder)
        for old in _folders(root)[keep:]:
            shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise GensweepError(f"the checkpoint {folder} cannot be written ({error}); is the disk full?") from error
    return folder


def read(folder: Path) -> Checkpoint:
    """What checkpoint.json says.  Raises GensweepError if it is missing, damaged or of a later version."""
    file = folder / CHECKPOINT_FILE
    try:
        record = json.loads(file.read_text())
        version = record["format"]
        if version != CHECKPOINT_FORMAT:
            raise GensweepError(
                f"{file} has format {version}, but this version of gensweep reads format {CHECKPOINT_FORMAT}"
            )
        known = {each.name for each in fields(Checkpoint)}
        values = {name: value for name, value in record.items() if name in known}
        for name in ("shape", "class_names", "class_counts"):
            values[name] = tuple(values[name])
        return Checkpoint(**values)
    except FileNotFoundError:
        raise GensweepError(f"{folder} is not a checkpoint: it has no {CHECKPOINT_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GensweepError(f"{file} is damaged ({error}); use another checkpoint") from None


def verify(folder: Path) -> Checkpoint:
    """Read checkpoint.json and compare the tensors' hash.  Raises GensweepError that names what is damaged."""
    checkpoint = read(folder)
    file = folder / STATE_FILE
    try:
        actual = _sha256(file)
    except OSError as error:
        raise GensweepError(f"{file} cannot be read ({error.strerror}); use another checkpoint") from None
    if actual != checkpoint.sha256:
        raise GensweepError(
            f"{file} is damaged: its SHA-256 is {actual[:12]}..., but {checkpoint.sha256[:12]}... was written; "
            "use another checkpoint"
        )
    return checkpoint


def load_tensors(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under their full names, after a look at the hash of all."""
    verify(folder)
    with safe_open(folder / STATE_FILE, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def tensor_names(folder: Path) -> list[str]:
    """The names of all tensors, from the head of the file.  Raises GensweepError if it cannot be read."""
    try:
        with safe_open(folder / STATE_FILE, framework="pt") as file:
            return list(file.keys())
    except (OSError, SafetensorError) as error:
        raise GensweepError(f"{folder / STATE_FILE} cannot be read ({error}); use another checkpoint") from None


def latest(root: Path) -> Path | None:
    """The newest checkpoint of a training that is not damaged."""
    for folder in _folders(root):
        try:
            verify(folder)
        except GensweepError:
            continue
        return folder
    return None


def _folders(root: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted((path for path in root.glob("images-*") if path.is_dir()), reverse=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
