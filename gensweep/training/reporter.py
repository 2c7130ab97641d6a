"""Interface between a trial and its caller: where it runs, and where it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from gensweep.results import Evaluation, Phase


class StopTrial(Exception):  # noqa: N818  (a decision, not an error)
    """Raised by a reporter to end a trial early; passes through `run_trial`, whose checkpoints are complete."""


@dataclass(frozen=True)
class WorkerContext:
    """Where a trial runs: its rank of `world`, device, folder, and checkpoints to resume from.

    Checkpoints are newest first; the trial uses the first undamaged one.
    """

    rank: int
    world: int
    device: torch.device
    folder: Path
    resume: tuple[Path, ...] = ()


@runtime_checkable
class Reporter(Protocol):
    """Receiver of a trial's reports.

    All ranks call it equally often, except for notes and moves; only rank 0's numbers count.  If one rank is asked for
    a checkpoint, all save it.
    """

    def progress(self, images: int, numbers: Mapping[str, float]) -> None:
        """Report numbers after this many training images; may raise StopTrial."""

    def paced(self, images: int, images_per_second: float) -> None:
        """Report the number of images after which a time-limited training will end."""

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """Report an evaluation and rank 0's checkpoint in `folder`; may raise StopTrial."""

    def checkpoint_wanted(self) -> bool:
        """True if a checkpoint is needed now, before this worker is lost or stopped; called once a second."""

    def saved(self, images: int, folder: Path) -> None:
        """Report rank 0's checkpoint without a score in `folder`; may raise StopTrial."""

    def note(self, text: str) -> None:
        """Report a line for the user; any rank may call it at any time."""

    def moved(self, phase: Phase | None = None) -> None:
        """Report a finished step or a new phase; a long silence means that this rank hangs."""
