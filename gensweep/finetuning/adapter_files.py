"""Adapters as a user names them."""

from __future__ import annotations

import math
from pathlib import Path

from gensweep.errors import ConfigError, GensweepError
from gensweep.finetuning.adapters import ADAPTER_FILE
from gensweep.tracking.runs import checkpoint_folder


def adapter_file(text: str) -> tuple[Path, float]:
    """The file and the scale in "FILE", "FILE:0.7" or "RUN:0.7"; a run stands for the adapter of its best checkpoint.

    Raises ConfigError for a scale that is no number, and GensweepError if there is no such adapter.
    """
    name, colon, number = text.rpartition(":")
    if not colon or Path(text).exists():
        name, number = text, "1"
    try:
        scale = float(number)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise ConfigError(f"--adapter {text}: {number!r} is not a scale; write FILE:NUMBER, such as {name}:0.7")
    if Path(name).is_file():
        return Path(name), scale
    if name.endswith(".safetensors"):
        raise GensweepError(
            f"--adapter {text}: there is no file {name}; a fine-tuning leaves {ADAPTER_FILE} in its checkpoints"
        )
    file = checkpoint_folder(name) / ADAPTER_FILE
    if not file.is_file():
        raise GensweepError(f"--adapter {text}: {name} is no fine-tuning by low-rank updates: it has no {ADAPTER_FILE}")
    return file, scale
