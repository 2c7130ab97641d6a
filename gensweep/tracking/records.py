"""What a sweep tells its observers: plain records, created in the driver only.

The sweep calls every method of every observer from one thread, in order: `sweep_started`, then for each trial
`trial_started`, `trial_reported` (any number), `trial_ended`, and at last `sweep_ended`.  An observer should return at
once; what it raises is logged and never ends the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

__all__ = ["Observer", "Report", "SweepStart", "SweepStatus", "TrialEnd", "TrialStart", "TrialStatus"]

TrialStatus = Literal["finished", "pruned", "failed", "stopped"]
"""How a trial ended: its budget used up; stopped early by the scheduler; an error; interrupted and resumable."""

SweepStatus = Literal["finished", "interrupted", "failed"]
"""`finished` also if trials failed; `interrupted` by Ctrl-C or SIGTERM; `failed` if the sweep itself broke down."""


@dataclass(frozen=True)
class SweepStart:
    """The sweep is about to run its first trial, or to go on."""

    sweep: str
    folder: Path
    """The sweep's folder, absolute; its `tracking/` is for observers that need to remember something."""
    trials: int
    """How many trials there will be in the end, those of earlier sessions included."""
    ended: int
    """How many of them ended in earlier sessions."""
    concurrent: int
    metric: str
    mode: Literal["min", "max"]
    resumed: bool
    """True for --resume and --extend."""


@dataclass(frozen=True)
class TrialStart:
    """A trial starts; `resumed` if it ran before, in this session or an earlier one, and goes on from a checkpoint."""

    trial: str
    """Short and stable: t0000, t0001, ... also over --resume and --extend."""
    params: Mapping[str, Any]
    """What the search chose: dotted key -> value, flat."""
    config: Mapping[str, Any]
    """The effective configuration, as plain nested values."""
    resumed: bool = False


@dataclass(frozen=True)
class Report:
    """One report of a running trial.  Reports of a trial come with growing `images`."""

    trial: str
    images: int
    """Training images seen: the step of every metric."""
    metrics: Mapping[str, float]
    """Finite numbers: loss, loss/<name>, images_per_second, ...; with a checkpoint also the scores, such as fd."""
    identity: Mapping[str, Any] | None = None
    """What the scores were measured with; only with a checkpoint that was evaluated."""
    checkpoint: Path | None = None
    """Folder of the persisted checkpoint on this machine (it holds pictures).  It may be deleted later: copy now."""


@dataclass(frozen=True)
class TrialEnd:
    """A trial ended.  After `stopped` it can start again in a later session."""

    trial: str
    status: TrialStatus
    objective: float | None
    """The best evaluated checkpoint's value of the sweep's metric; None if there was none."""
    error: str | None = None
    """Cause and where the log is, if it failed."""
    images: int = 0
    best: Path | None = None
    """Folder of the best evaluated checkpoint on this machine; it stays."""
    best_metrics: Mapping[str, float] = field(default_factory=dict)
    """The metrics that were reported with it."""
    identity: Mapping[str, Any] | None = None
    """What the objective was measured with."""


class Observer(Protocol):
    """Follows a sweep from the driver process: the MLflow writer and the terminal display are two."""

    def sweep_started(self, start: SweepStart) -> None:
        """First of all."""

    def trial_started(self, start: TrialStart) -> None:
        """A trial starts, or goes on."""

    def trial_reported(self, report: Report) -> None:
        """A running trial reports."""

    def trial_ended(self, end: TrialEnd) -> None:
        """A trial ended, or stopped for now."""

    def sweep_ended(self, status: SweepStatus) -> None:
        """Last of all."""
