"""Tensors that are computed once and kept in a file, with a key that says what they belong to."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from gensweep.cache import locked, unwritable
from gensweep.files import replacing, write_tensors


def kept(file: Path, key: Mapping[str, str], compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in a file, or those that are computed and put there.

    Of concurrent trials one computes, and the others wait for it and read.  An entry that is damaged or has another key
    is computed again, with a warning.  Raises GensweepError if nothing can be written there.
    """
    if (found := _read(file, key)) is not None:
        return found
    with locked(file):
        if (found := _read(file, key)) is not None:
            return found
        if file.exists():
            warnings.warn(f"{file}: these reference statistics are damaged; they are computed again", stacklevel=2)
        tensors = compute()
        try:
            with replacing(file) as aside:
                write_tensors(aside, tensors, {**key, "sha256": _digest(tensors)})
        except (OSError, SafetensorError) as error:
            raise unwritable(file.parent, error) from error
        return tensors


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()


def _read(file: Path, key: Mapping[str, str]) -> dict[str, Tensor] | None:
    """What is in a file, or None if there is none or it must not be trusted."""
    try:
        with safe_open(file, framework="pt") as entry:
            metadata = entry.metadata() or {}
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return None
    trusted = metadata.get("sha256") == _digest(tensors) and key.items() <= metadata.items()
    return tensors if trusted else None
