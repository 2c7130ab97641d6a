"""The settings that all trials of a sweep share, and the assignment of one trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensweep.run.carried import Carried


@dataclass(frozen=True)
class TrialSettings:
    """Passed to every trial; `scratch` is on the driver's machine."""

    sweep_id: str
    job: Carried[Callable[..., None]]
    """With its plug-ins, for the workers only."""
    worker_counts: tuple[int, ...]
    """Allowed numbers of workers, largest first."""
    resources: dict[str, float]
    """Of one worker."""
    storage: str
    """The root of the sweep's storage, a path or URL."""
    own_storage: bool
    """True if that is the sweep's own folder."""
    scratch: Path
    """For Ray Train's bookkeeping; checkpoints are not stored there."""
    bell: Any
    """The actor that says when the sweep stops."""


@dataclass(frozen=True)
class Assignment:
    """A trial, and the checkpoints to resume from, newest first."""

    trial: str
    config: Any
    checkpoints: tuple[str, ...] = ()
