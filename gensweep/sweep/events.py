"""The events of a sweep, as records of its log.

A `checkpoint` is named by the trial that made it and its training images, such as t0007/000000050000: where it lies
is a matter of the sweep's folder (see gensweep.sweep.checkpoints).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, TypeAlias, get_args

from gensweep.redaction import redact
from gensweep.results import Evaluation, Outcome, Phase, Unit

TrialStatus = Literal["finished", "pruned", "failed", "infeasible", "stopped"]
"""How a trial ended: its budget used up; stopped early by the scheduler; an error; not trained, as it breaks a limit
that its configuration cannot meet; interrupted and resumable."""

SweepStatus = Literal["finished", "interrupted", "failed"]
"""`finished` also if trials failed; `interrupted` by Ctrl-C, SIGTERM or a crash; `failed` if the sweep broke down."""


@dataclass(frozen=True)
class Created:
    """The sweep was created; `sweep_id` tells it from others of the same name.

    Each training may spend a `budget`, in its `unit`; None: as many images as its configuration says.  All of them may
    spend the `search_budget`, if there is one.
    """

    kind: ClassVar[str] = "created"
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
    """Scores and costs to search for beside the first one, each with its `metric` and `mode`."""
    constraints: Sequence[Mapping[str, Any]] = ()
    """Limits, each with its `metric`, `min` and `max`."""
    start: Mapping[str, Any] | None = None
    """The start of the first trial: the `run` that trained it for so many `images`, and the `checkpoint` here."""


@dataclass(frozen=True)
class WarmStarted:
    """The best parameters of the sweep in the folder `source` come first."""

    kind: ClassVar[str] = "warm_started"
    source: str
    queue: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Extended:
    """The total number of trials that the search draws was raised."""

    kind: ClassVar[str] = "extended"
    trials: int


@dataclass(frozen=True)
class Exhausted:
    """The budget of the search pays for no more: so many trials are drawn in all, with those it has no say in."""

    kind: ClassVar[str] = "exhausted"
    trials: int


@dataclass(frozen=True)
class RepeatsAsked:
    """The `top` best trials are to be trained again with so many other `seeds`, whatever the plan says."""

    kind: ClassVar[str] = "repeats_asked"
    top: int
    seeds: int


@dataclass(frozen=True)
class SessionStarted:
    """A driver begins to work on the sweep, with `concurrent` trials at a time.

    `tags` hold its provenance: command, versions, commit.
    """

    kind: ClassVar[str] = "session_started"
    concurrent: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scaled:
    """The cluster has so many nodes, on which so many trials fit at once; `missing` workers have no place as yet.

    `each` says in words what a worker asks for.
    """

    kind: ClassVar[str] = "scaled"
    nodes: int
    concurrent: int
    missing: int = 0
    each: str = ""


@dataclass(frozen=True)
class Stopping:
    """The session is about to end, once these trials have saved where they are, or after a while."""

    kind: ClassVar[str] = "stopping"
    trials: Sequence[str]


@dataclass(frozen=True)
class SessionEnded:
    """The driver leaves the sweep."""

    kind: ClassVar[str] = "session_ended"
    status: SweepStatus
    error: str | None = None


@dataclass(frozen=True)
class Suggested:
    """A trial: Optuna's parameters (`suggested`), the overrides that follow from them, and the whole configuration.

    One that repeats another with a different seed names it, and is not the search's.
    """

    kind: ClassVar[str] = "suggested"
    trial: str
    number: int
    suggested: Mapping[str, Any]
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    repeat_of: str | None = None
    sampler_state: Mapping[str, int] = field(default_factory=dict)
    """What the sampler notes of the trial, such as its generation."""
    known: Mapping[str, float] = field(default_factory=dict)
    """Costs that follow from the configuration, of those that have a limit, up to the first that breaks it."""


@dataclass(frozen=True)
class Paced:
    """A trial that is bounded in time will end after `images` training images, as its first seconds say."""

    kind: ClassVar[str] = "paced"
    trial: str
    images: int
    images_per_second: float


@dataclass(frozen=True)
class Resumed:
    """A trial that was stopped or paused is to go on from its checkpoint; it waits for workers."""

    kind: ClassVar[str] = "resumed"
    trial: str


@dataclass(frozen=True)
class Started:
    """Workers take the trial, for the first time or again."""

    kind: ClassVar[str] = "started"
    trial: str


@dataclass(frozen=True)
class Lost:
    """A trial lost its workers, or they failed because of infrastructure; it waits, with its checkpoint.

    It `counts` as a failure of the trial unless a node was lost with them; `log` is a file with the details.
    """

    kind: ClassVar[str] = "lost"
    trial: str
    cause: str
    counts: bool = True
    log: str | None = None


@dataclass(frozen=True)
class Entered:
    """The workers of a trial, or those that start for it, are busy with something else than before."""

    kind: ClassVar[str] = "entered"
    trial: str
    phase: Phase


@dataclass(frozen=True)
class Progressed:
    """Numbers of a running trial after `images` training images."""

    kind: ClassVar[str] = "progressed"
    trial: str
    images: int
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Noted:
    """A worker of a trial says something to whoever watches, such as that it fetches a data set."""

    kind: ClassVar[str] = "noted"
    trial: str
    text: str


@dataclass(frozen=True)
class Evaluated:
    """A trial was evaluated; images that were not trained here have no `checkpoint`."""

    kind: ClassVar[str] = "evaluated"
    trial: str
    evaluation: Evaluation
    checkpoint: str | None


@dataclass(frozen=True)
class Paused:
    """The scheduler holds a trial until others have come as far; it may go on from its checkpoint."""

    kind: ClassVar[str] = "paused"
    trial: str


@dataclass(frozen=True)
class Cloned:
    """A trial goes on from the checkpoint of another one, its `source`, after `images` training images.

    `params` are its overrides from now on, `config` the configuration that follows; `changed` are those of the source's
    values that were perturbed, each as before and after.
    """

    kind: ClassVar[str] = "cloned"
    trial: str
    source: str
    images: int
    checkpoint: str
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    changed: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A checkpoint without a score: the last one was long ago, the machine is about to go, or the sweep stops."""

    kind: ClassVar[str] = "saved"
    trial: str
    images: int
    checkpoint: str


@dataclass(frozen=True)
class Ended:
    """A trial ended; `log` is a file that says more of an error."""

    kind: ClassVar[str] = "ended"
    trial: str
    status: TrialStatus
    error: str | None = None
    log: str | None = None
    infrastructure_error: bool = False
    """True if storage, data or lost processes failed it."""


@dataclass(frozen=True)
class Retried:
    """A trial that failed is to run again from its last checkpoint, with this configuration.

    One that has not ended is to have it when it goes on, and stays as it is until then.
    """

    kind: ClassVar[str] = "retried"
    trial: str
    config: Mapping[str, Any]


@dataclass(frozen=True)
class ScoredAgain:
    """A trial's checkpoint after some training images was scored again."""

    kind: ClassVar[str] = "scored_again"
    trial: str
    outcome: Outcome
    images: int


Report: TypeAlias = Started | Paced | Entered | Progressed | Noted | Evaluated | Saved
"""Reports of the workers of a trial."""

TrialEvent: TypeAlias = Suggested | Report | Lost | Paused | Resumed | Cloned | Ended | Retried | ScoredAgain
Event: TypeAlias = (
    Created
    | WarmStarted
    | Extended
    | Exhausted
    | RepeatsAsked
    | SessionStarted
    | Scaled
    | Stopping
    | SessionEnded
    | TrialEvent
)

#: Names of sweeps, trials and checkpoints, which become names of files.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CHECKPOINT_NAME = re.compile(SAFE_NAME.pattern + r"/\d{12,}")
_NAMES = {"trial": SAFE_NAME, "checkpoint": CHECKPOINT_NAME}

EVENTS: dict[str, type[Event]] = {event.kind: event for event in get_args(Event)}
_FIELDS = {kind: tuple(each.name for each in fields(event)) for kind, event in EVENTS.items()}

#: Fields of events that are more than plain values.
_PARSERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "evaluation": Evaluation.from_dict,
    "outcome": Outcome.from_dict,
}


#: Fields of events that hold words of others, such as errors, in which there may be secrets.
_WORDS = ("cause", "error", "text")


def without_secrets(event: Event) -> Event:
    """An event as it may be told."""
    words: dict[str, Any] = {name: redact(value) for name in _WORDS if (value := getattr(event, name, None))}
    return replace(event, **words) if words else event


def to_record(event: Event) -> dict[str, Any]:
    """An event as plain values."""
    values = {name: getattr(event, name) for name in _FIELDS[event.kind]}
    nested = {name: value.as_dict() for name, value in values.items() if name in _PARSERS}
    return {"event": event.kind} | values | nested


def from_record(record: Mapping[str, Any]) -> Event | None:
    """The inverse of `to_record`; None for a kind of event that only later versions know.

    Raises ValueError if a trial or a checkpoint has a name that cannot be that of a file.
    """
    made = EVENTS.get(record["event"])
    if made is None:
        return None
    values = {name: record[name] for name in _FIELDS[made.kind] if name in record}
    for kind, pattern in _NAMES.items():
        if (name := values.get(kind)) is not None and not pattern.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a {kind}")
    return made(**values | {name: parse(values[name]) for name, parse in _PARSERS.items() if name in values})
