"""What there is to read in a store: sweeps, their trials, and what each reached at which cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from gensweep.results import Cost, Score

__all__ = ["ESTIMATES", "IMPORTED_FAMILIES", "SIGNALS", "Sweep", "Trial"]

#: The file of a checkpoint, and of a run, that says how sure its scores are.
ESTIMATES = "estimates.json"
#: Families of what was not trained here: a folder of images, an exported generator.
IMPORTED_FAMILIES = ("folder", "torchscript")
#: Numbers beside a score that tables and warnings look at.
SIGNALS = ("diversity", "authpct/memorised")


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.  `config` is flat and text, `params` is what the search chose, with its types.

    `logged` names the numbers of which there is a history.
    `signals` are those of its best checkpoint: `SIGNALS` and what begins with "signal/".  `rescored` is the score
    of that checkpoint on fresh seeds, if it was scored again.
    """

    sweep: str
    trial: str
    run_id: str
    family: str
    status: str
    started: datetime
    objective: Score | None = None
    cost: Cost = field(default_factory=Cost)
    signals: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    error: str | None = None
    best: bool = False
    logged: frozenset[str] = frozenset()
    rescored: Score | None = None
    folder: str | None = None
    """That of its sweep, which may be on another machine."""
    sweep_id: str = ""

    @property
    def name(self) -> str:
        """What a user types to mean this trial."""
        return f"{self.sweep}/{self.trial}"

    @property
    def imported(self) -> bool:
        """Whether it was only judged here, and not trained."""
        return self.family in IMPORTED_FAMILIES


@dataclass(frozen=True)
class Sweep:
    """One sweep and its trials, in the order of their names."""

    name: str
    run_id: str
    status: str
    started: datetime
    metric: str
    mode: Literal["min", "max"]
    command: str = ""
    folder: str | None = None
    sweep_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
