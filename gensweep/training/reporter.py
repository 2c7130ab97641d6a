"""What a trial is given by whoever runs it: where it runs, and where it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from gensweep.results import Evaluation, Phase


class StopTrial(Exception):  # noqa: N818  (a decision, not an error)
    """Raised by a reporter to end a trial early; it passes through `run_trial`, whose checkpoints are complete."""


@dataclass(frozen=True)
class WorkerContext:
    """Where a trial runs: its rank of `world`, its device, a folder for its files, and checkpoints to resume from.

    The newest of these comes first; the trial takes the first that is whole.
    """

    rank: int
    world: int
    device: torch.device
    folder: Path
    resume: tuple[Path, ...] = ()


@runtime_checkable
class Reporter(Protocol):
    """Where a trial reports.

    All ranks call it equally often, except for notes and moves; only the numbers of rank 0 count.  A checkpoint
    that one rank is asked for is saved by all.
    """

    def progress(self, images: int, numbers: Mapping[str, float]) -> None:
        """Numbers after this many training images; may raise StopTrial."""

    def paced(self, images: int, images_per_second: float) -> None:
        """A training that is bounded in time will end after so many images, as its first seconds say."""

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """An evaluation, and the checkpoint that rank 0 has written to `folder`; may raise StopTrial."""

    def checkpoint_wanted(self) -> bool:
        """Whether a checkpoint is wanted now, before this worker is lost or stopped; asked about once a second."""

    def saved(self, images: int, folder: Path) -> None:
        """A checkpoint without a score that rank 0 has written to `folder`; may raise StopTrial."""

    def note(self, text: str) -> None:
        """A line for whoever watches; any rank may call it at any time."""

    def moved(self, phase: Phase | None = None) -> None:
        """A step was done, or a phase begins: who hears nothing for long takes this rank to hang."""
