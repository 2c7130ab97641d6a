"""What the driver needs to know of a sweep, and what it hands back; free of torch and Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gensweep.config.sweep_config import Objective, Resources, Search
from gensweep.sweep.events import SweepStatus
from gensweep.sweep.resources import Allotment
from gensweep.sweep.state import SweepState

__all__ = ["Plan", "SweepResult"]


@dataclass(frozen=True)
class Plan:
    """A sweep, resolved: each part is a plain value or a function."""

    name: str
    objective: Objective
    search: Search
    budget: int
    """Images that a full trial sees."""
    job: Callable[..., None]
    """Runs in the workers: (configuration, WorkerContext, Reporter).  See gensweep.training.trial."""
    sample: Callable[[Any], dict[str, Any]]
    """Optuna trial -> overrides, flat, with dotted keys."""
    configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Overrides -> the effective configuration as plain values, for the job and the log."""
    grace: int = 1
    """Images before a scheduler may stop a trial."""
    resources: Resources = field(default_factory=Resources)
    settings: dict[str, Any] = field(default_factory=dict)
    """What sweep.json keeps."""
    keep_best: int = 1
    """Trials whose best checkpoint goes to the tracking server."""
    store: str = ""
    """Where the sweep shows in MLflow."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: command, versions, commit."""
    max_failures: int = 1
    """How often a trial goes on from its last checkpoint after its workers were lost.  What a trial raises by itself
    would be raised again, so that ends it at once."""
    trials_per_group: int = 25
    """After so many trials a worker group is replaced by new processes."""


@dataclass(frozen=True)
class SweepResult:
    """What became of a sweep."""

    folder: Path
    status: SweepStatus
    state: SweepState
    allotment: Allotment
    error: str | None = None
    """Why the sweep itself ended early, if `status` is failed."""

    @property
    def resume_command(self) -> str:
        """What goes on with this sweep."""
        return f"gensweep tune --resume {self.folder.name}"

    @property
    def exit_code(self) -> int:
        """0 done, 1 the sweep could not go on, 3 some trials failed, 130 interrupted."""
        if self.status == "finished":
            return 3 if self.state.failed else 0
        return 130 if self.status == "interrupted" else 1
