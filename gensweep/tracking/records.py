"""What there is to read in a store: sweeps, their trials, and what each reached at which cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from gensweep.errors import GensweepError
from gensweep.results import Cost, Score, Unit
from gensweep.sweep.events import Created
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.log import EventLog
from gensweep.sweep.state import SweepState

#: Families of what was not trained here: a folder of images, an exported generator, a pipeline of diffusers.
IMPORTED_FAMILIES = ("folder", "torchscript", "pipeline")


class CloneStep(NamedTuple):
    """A trial went on from the checkpoint of another one after so many images, with these settings changed."""

    source: str
    images: int
    changed: Mapping[str, Sequence[Any]]
    """By dotted key, the value of the source and the new one."""


class ObjectiveValue(NamedTuple):
    """What a trial has of an objective, and which is better: less (min) or more (max)."""

    metric: str
    mode: str
    value: float


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a sweep.

    `config` is flat and text, `params` is what the search chose, with its types.  `signals` are those of its best
    checkpoint, `rescored` is the score of that checkpoint on fresh seeds, if it was scored again, and `further_scores`
    are those of other metrics or numbers of images, also on fresh seeds; one that
    `never_improved` was best at its first evaluation of several.  `repeat_of` names the trial whose configuration this
    one trains with another seed.  Its training ends after `length` images.  `folder` is that of its sweep, which may be
    on another machine.
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
    outside: bool = False
    """Whether it failed for a cause outside of it: storage, data, lost processes."""
    best: bool = False
    length: int | None = None
    repeat_of: str | None = None
    lineage: tuple[CloneStep, ...] = ()
    """The clonings by which it came to its weights, the first one first."""
    objectives: tuple[ObjectiveValue, ...] = ()
    """At its best checkpoint, the score first, where the sweep has several objectives."""
    broken_limits: tuple[str, ...] = ()
    """The constraints of its sweep that it breaks, in words."""
    rescored: Score | None = None
    further_scores: tuple[Score, ...] = ()
    never_improved: bool = False
    folder: str | None = None
    sweep_id: str = ""
    shadowed: bool = False
    """Whether the name of its sweep means a newer one."""

    @property
    def name(self) -> str:
        """What people call this trial."""
        return f"{self.sweep}/{self.trial}"

    @property
    def typed(self) -> str:
        """What a user types to mean this trial and no other."""
        return self.run_id if self.shadowed else self.name

    @property
    def imported(self) -> bool:
        """Whether it was only evaluated here, and not trained."""
        return self.family in IMPORTED_FAMILIES


@dataclass(frozen=True)
class SweepRecord:
    """One sweep and its trials, in the order of their names.

    Each training may spend a `budget`, in its `unit`; None: as many images as its configuration says.
    """

    name: str
    run_id: str
    status: str
    started: datetime
    metric: str
    command: str = ""
    folder: str | None = None
    sweep_id: str = ""
    unit: Unit = "images"
    budget: float | None = None
    reported: bool = False
    """Whether its report is filed with its run."""
    shadowed: bool = False
    """Whether its name means a newer one."""
    trials: tuple[TrialRecord, ...] = ()

    @property
    def typed(self) -> str:
        """What a user types to mean this sweep and no other."""
        return self.run_id if self.shadowed else self.name


def sweep_folder(run: TrialRecord | SweepRecord) -> SweepFolder | None:
    """The folder of the sweep that a run is or belongs to, if it is on this machine."""
    if run.folder is None:
        return None
    path = Path(run.folder)
    try:
        folder = SweepFolder(path.parent, path.name)
        # A later sweep of the same name may have taken the place of the one that this run belongs to.
        return folder if logged_sweep_id(folder) == run.sweep_id else None
    except GensweepError:
        return None


def logged_sweep_id(folder: SweepFolder) -> str | None:
    """The id of the sweep that a log begins with.  Raises GensweepError if the log is damaged."""
    return _sweep_id(folder.log.file, *folder.log.version)


@lru_cache(maxsize=64)
def _sweep_id(file: Path, *version: int) -> str | None:
    """Each of ten thousand trials asks for it."""
    first = next(EventLog(file).read(), None)
    return first.event.sweep_id if first is not None and isinstance(first.event, Created) else None


def logged_state(run: TrialRecord | SweepRecord) -> SweepState | None:
    """What the log says of the sweep that a run is or belongs to, if it is on this machine and can be read."""
    folder = sweep_folder(run)
    try:
        return None if folder is None else folder.state()
    except GensweepError:
        return None
