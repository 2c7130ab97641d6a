"""The events of a sweep, as records of its log.

A `checkpoint` is named by the trial that made it and its training images, such as t0007/000000050000; see
gensweep.sweep.checkpoints for its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, get_args

from gensweep.redaction import redact
from gensweep.results import Evaluation, Outcome, Phase, Unit

TrialStatus = Literal["finished", "pruned", "failed", "infeasible", "stopped"]
"""How a trial ended: finished its budget; stopped by the scheduler; failed; not trained because its configuration
breaks a limit; interrupted, so it can resume."""

SweepStatus = Literal["finished", "interrupted", "failed"]
"""`finished`, even if trials failed; `interrupted` by Ctrl-C, SIGTERM or a crash; `failed` if the sweep broke down."""


@dataclass(frozen=True)
class Created:
    """The sweep was created; `sweep_id` distinguishes it from others of the same name.

    Each training has the same `budget`, in `unit`; None: the number of images in its configuration.  `search_budget`
    limits the sum.
    """

    sweep_id: str
    name: str
    metric: str
    mode: Literal["min", "max"]
    trials: int
    keep_best: int = 1
    unit: Unit = "images"
    budget: float | None = None
    search_unit: Unit = "device_seconds"
    search_budget: float | None = None
    further: Sequence[Mapping[str, Any]] = ()
    """Further objectives, each with its `metric` and `mode`."""
    constraints: Sequence[Mapping[str, Any]] = ()
    """Limits, each with its `metric`, `min` and `max`."""
    start: Mapping[str, Any] | None = None
    """Where the first trial starts: the `run` that trained it for `images` images, and the `checkpoint` here."""


@dataclass(frozen=True)
class WarmStarted:
    """The search starts with the best parameters of the sweep in the folder `source`."""

    source: str
    queue: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Extended:
    """The number of trials to sample was raised to a new total."""

    trials: int


@dataclass(frozen=True)
class Exhausted:
    """No more than `trials` trials are sampled: the budget is spent, or others are expected to gain so little."""

    trials: int
    expected_gain: float | None = None


@dataclass(frozen=True)
class RepeatsAsked:
    """The user asked to train the `top` best trials again with `seeds` other seeds each."""

    top: int
    seeds: int


@dataclass(frozen=True)
class SessionStarted:
    """A driver starts to run the sweep, with `concurrent` trials at a time.

    `tags` hold its provenance: command, versions, commit.  Each trial has `workers`.  The `deadline` of the session is
    in milliseconds since 1970.
    """

    concurrent: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    deadline: int | None = None


@dataclass(frozen=True)
class Scaled:
    """The cluster's `nodes`, the `trials` that fit at once, and the `missing` workers, each of which needs `each`."""

    nodes: int
    concurrent: int
    missing: int = 0
    each: str = ""


@dataclass(frozen=True)
class Stopping:
    """The session ends once these trials have saved a checkpoint, or after a timeout."""

    trials: Sequence[str]


@dataclass(frozen=True)
class SessionEnded:
    """The driver ends its session."""

    status: SweepStatus
    error: str | None = None


@dataclass(frozen=True)
class Suggested:
    """A trial: Optuna's parameters (`suggested`), the overrides that follow from them, and the whole configuration.

    A repeat names the trial that it trains again with another seed.
    """

    trial: str
    number: int
    suggested: Mapping[str, Any]
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    repeat_of: str | None = None
    known: Mapping[str, float] = field(default_factory=dict)
    """Costs of the configuration that have a limit, up to the first broken limit."""


@dataclass(frozen=True)
class Paced:
    """Speed of the first seconds: a trial bounded in time will end after `images` training images."""

    trial: str
    images: int
    images_per_second: float


@dataclass(frozen=True)
class Resumed:
    """A stopped or paused trial is to resume from its checkpoint; it waits for workers."""

    trial: str


@dataclass(frozen=True)
class Started:
    """Workers start or resume the trial."""

    trial: str


@dataclass(frozen=True)
class Lost:
    """A trial lost its workers, or they failed because of infrastructure; it waits, keeping its checkpoint.

    It `counts` as a failure of the trial unless a node was lost too; `log` is a file with the details.
    """

    trial: str
    cause: str
    counts: bool = True
    log: str | None = None


@dataclass(frozen=True)
class Entered:
    """The activity of a trial's workers changed."""

    trial: str
    phase: Phase


@dataclass(frozen=True)
class Progressed:
    """Metrics of a running trial after `images` training images."""

    trial: str
    images: int
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Noted:
    """A message from a worker, such as a download of a data set."""

    trial: str
    text: str


@dataclass(frozen=True)
class Evaluated:
    """A trial was evaluated; images of other programs have no `checkpoint`."""

    trial: str
    evaluation: Evaluation
    checkpoint: str | None


@dataclass(frozen=True)
class Paused:
    """The scheduler paused a trial until others reach the same rung."""

    trial: str


@dataclass(frozen=True)
class Saved:
    """A checkpoint without a score: at an interval, before the machine is preempted, or as the sweep stops."""

    trial: str
    images: int
    checkpoint: str


@dataclass(frozen=True)
class Ended:
    """A trial ended; `log` is a file with details of an error."""

    trial: str
    status: TrialStatus
    error: str | None = None
    log: str | None = None
    infrastructure_error: bool = False
    """True if storage, data or lost processes failed it."""


@dataclass(frozen=True)
class Retried:
    """A trial gets a new configuration at its next start; a failed one runs again from its last checkpoint."""

    trial: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class ScoredAgain:
    """A checkpoint of a trial was scored again."""

    trial: str
    outcome: Outcome
    images: int


Report: TypeAlias = Started | Paced | Entered | Progressed | Noted | Evaluated | Saved
"""Messages that the workers of a trial report."""

TrialEvent: TypeAlias = Suggested | Report | Lost | Paused | Resumed | Ended | Retried | ScoredAgain
SessionEvent: TypeAlias = SessionStarted | Scaled | Stopping | SessionEnded
Event: TypeAlias = Created | WarmStarted | Extended | Exhausted | RepeatsAsked | SessionEvent | TrialEvent

#: Names of sweeps, trials and checkpoints; they become file names.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CHECKPOINT_NAME = re.compile(SAFE_NAME.pattern + r"/\d{12,}")
_NAMES = {"trial": SAFE_NAME, "checkpoint": CHECKPOINT_NAME}

#: The classes by the kind in a record, which is the name of the class: "session_started".
EVENTS: dict[str, type[Event]] = {
    re.sub(r"(?<=.)(?=[A-Z])", "_", event.__name__).lower(): event for event in get_args(Event)
}
_KINDS = {event: kind for kind, event in EVENTS.items()}
_FIELDS = {event: tuple(each.name for each in fields(event)) for event in EVENTS.values()}

#: Fields of events with structured values.
_PARSERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "evaluation": Evaluation.from_dict,
    "outcome": Outcome.from_dict,
}


#: Fields that quote other programs, such as error messages; they may contain secrets.
_WORDS = ("cause", "error", "text")


def without_secrets(event: Event) -> Event:
    """The event without secrets."""
    words: dict[str, Any] = {name: redact(value) for name in _WORDS if (value := getattr(event, name, None))}
    return replace(event, **words) if words else event


def to_record(event: Event) -> dict[str, Any]:
    """An event as plain values."""
    values = {name: getattr(event, name) for name in _FIELDS[type(event)]}
    nested = {name: value.as_dict() for name, value in values.items() if name in _PARSERS}
    return {"event": _KINDS[type(event)]} | values | nested


def from_record(record: Mapping[str, Any]) -> Event | None:
    """The inverse of `to_record`; None for an event kind of a later version.

    Raises ValueError if the name of a trial or checkpoint cannot be a file name.
    """
    made = EVENTS.get(record["event"])
    if made is None:
        return None
    values = {name: record[name] for name in _FIELDS[made] if name in record}
    for kind, pattern in _NAMES.items():
        if (name := values.get(kind)) is not None and not pattern.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a {kind}")
    return made(**values | {name: parse(values[name]) for name, parse in _PARSERS.items() if name in values})
