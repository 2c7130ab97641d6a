"""What there is to read in a store: sweeps, their trials, and what each reached at which cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

__all__ = ["ESTIMATES", "IMPORTED_FAMILIES", "NORMAL", "SIGNALS", "Cost", "Score", "Sweep", "Trial"]

#: Standard errors on each side of a 95 % interval.
NORMAL = 1.959964
#: The file of a checkpoint, and of a run, that says how sure its scores are.
ESTIMATES = "estimates.json"
#: Families of what was not trained here: a folder of images, an exported generator.
IMPORTED_FAMILIES = ("folder", "torchscript")
#: Numbers beside a score that tables and warnings look at.
SIGNALS = ("diversity", "authpct/memorised")


@dataclass(frozen=True)
class Score:
    """A value and everything that it depends on besides the model.

    `corrected` is what it would be for endless images, with its standard `error`, where the metric can tell.
    """

    metric: str
    value: float
    mode: Literal["min", "max"]
    identity: Mapping[str, Any]
    corrected: float | None = None
    error: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the 95 % interval of `corrected`."""
        if self.corrected is None or self.error is None:
            return None
        return self.corrected - NORMAL * self.error, self.corrected + NORMAL * self.error

    @property
    def order(self) -> float:
        """Smaller is better."""
        return self.value if self.mode == "min" else -self.value


@dataclass(frozen=True)
class Cost:
    """What a trial took: training images, seconds of training and of sampling, parameters of its networks.

    `activation_bytes` is the memory that a training step takes for each image of the batch.
    """

    images: int | None = None
    train_seconds: float | None = None
    sample_seconds: float | None = None
    params: int | None = None
    activation_bytes: int | None = None


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
    cost: Cost = Cost()
    signals: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    error: str | None = None
    best: bool = False
    logged: frozenset[str] = frozenset()
    rescored: Score | None = None

    @property
    def name(self) -> str:
        """What a user types to mean this trial."""
        return f"{self.sweep}/{self.trial}"

    @property
    def imported(self) -> bool:
        """Whether it was only judged here, and not trained."""
        return self.family in IMPORTED_FAMILIES

    @property
    def countable(self) -> bool:
        """Whether its objective can be ranked."""
        return self.objective is not None and self.status != "failed"


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
    tags: Mapping[str, str] = field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
