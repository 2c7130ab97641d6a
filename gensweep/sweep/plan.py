"""What the driver needs to know of a sweep, and what it hands back; free of YAML, torch and Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gensweep.sweep.folder import TrialRecord
from gensweep.sweep.resources import Allotment, Request
from gensweep.tracking.records import SweepStatus

__all__ = ["Plan", "SweepResult"]


@dataclass(frozen=True)
class Plan:
    """A sweep, resolved: each part is a plain value or a function."""

    name: str
    metric: str
    mode: Literal["min", "max"]
    trials: int
    budget: int
    """Images that a full trial sees."""
    job: Callable[..., None]
    """Runs in the workers: (config as plain values, Place, Reporter).  See gensweep.sweep.worker.Job."""
    sample: Callable[[Any], dict[str, Any]]
    """Optuna trial -> overrides, flat, with dotted keys."""
    configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    """Overrides -> the effective configuration as plain values, valid: for the job, the disk and the observers."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What sweep.json keeps."""
    seed: int = 0
    sampler: str = "tpe"
    sampler_settings: Mapping[str, Any] = field(default_factory=dict)
    scheduler: str = "asha"
    scheduler_settings: Mapping[str, Any] = field(default_factory=dict)
    patience: int | None = None
    """Evaluations without a new best after which a trial is finished."""
    request: Request = field(default_factory=Request)
    max_failures: int = 1
    """How often a trial goes on from its last checkpoint after its workers were lost.  What a trial raises by itself
    would be raised again, so that ends it at once."""
    trials_per_group: int = 25
    """After so many trials a worker group is replaced by new processes."""


@dataclass(frozen=True)
class SweepResult:
    """What became of a sweep."""

    name: str
    folder: Path
    status: SweepStatus
    trials: tuple[TrialRecord, ...]
    metric: str
    mode: Literal["min", "max"]
    allotment: Allotment
    error: str | None = None
    """Why the sweep itself ended early, if `status` is failed."""

    @property
    def interrupted(self) -> bool:
        """Ctrl-C or SIGTERM: exit with 130 and print `resume_command`."""
        return self.status == "interrupted"

    @property
    def failed(self) -> tuple[TrialRecord, ...]:
        """Trials that failed."""
        return tuple(t for t in self.trials if t.status == "failed")

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best evaluated checkpoint, also if it was pruned or failed later."""
        scored = [t for t in self.trials if t.objective is not None]
        sign = 1 if self.mode == "min" else -1
        return min(scored, key=lambda t: sign * float(t.objective or 0.0), default=None)

    @property
    def resume_command(self) -> str:
        """What goes on with this sweep."""
        return f"gensweep tune --resume {self.name}"

    @property
    def exit_code(self) -> int:
        """0 done, 1 the sweep could not go on, 3 some trials failed, 130 interrupted."""
        if self.status == "finished":
            return 3 if self.failed else 0
        return 130 if self.interrupted else 1
