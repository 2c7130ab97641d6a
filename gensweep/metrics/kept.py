"""Tensors that are computed once and kept in a file, with a key that says what they belong to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gensweep.errors import GensweepError

__all__ = ["kept"]


def kept(
    file: Path, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]], note: Callable[[str], None]
) -> dict[str, Tensor]:
    """The tensors in a file, or those that are computed and put there.

    Safe under concurrent trials: one computes, the others wait for it and read.  An entry that is damaged or has
    another key is computed again, and `note` gets a message.  Raises GensweepError if nothing can be written there.
    """
    if (found := _read(file, key, note)) is not None:
        return found
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if file.exists() and (found := _read(file, key, lambda _: None)) is not None:
                return found
            tensors = compute()
            _write(file, key, tensors)
            return tensors
    except OSError as error:
        raise GensweepError(
            f"{file.parent}: reference statistics cannot be kept there ({error}); "
            "point GENSWEEP_CACHE to a folder that can be written"
        ) from error


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()


def _write(file: Path, key: Mapping[str, str], tensors: dict[str, Tensor]) -> None:
    aside = file.with_name(f"{file.stem}.{os.getpid()}.tmp")
    try:
        save_file(tensors, aside, metadata={**key, "sha256": _digest(tensors)})
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def _read(file: Path, key: Mapping[str, str], note: Callable[[str], None]) -> dict[str, Tensor] | None:
    """What is in a file, or None if there is none or it must not be trusted."""
    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as entry:
            metadata = entry.metadata() or {}
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (not a mapping)
        if metadata.get("sha256") == _digest(tensors) and key.items() <= metadata.items():
            return tensors
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError):
        pass
    note(f"{file}: these reference statistics are damaged; they are computed again")
    return None
