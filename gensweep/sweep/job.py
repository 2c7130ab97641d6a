"""What a job is to a sweep; free of torch, so that processes which only pass jobs on need not load it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Job", "WorkerContext"]


@dataclass(frozen=True)
class WorkerContext:
    """Where a job runs: its rank of so many, its device, a folder for its files, and checkpoints to resume from."""

    rank: int
    world: int
    device: torch.device
    folder: Path
    resume: tuple[Path, ...] = ()
    """Checkpoint folders, newest first; the job takes the first that is whole."""


Job = Callable[[Any, WorkerContext, Any], None]
"""Runs one trial of the given configuration (plain values) to the end of its budget, and tells the Reporter, which is
the third argument (see gensweep.training.trial), how it goes."""
