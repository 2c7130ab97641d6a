"""The state of a sweep, which follows from the events of its log and from nothing else.

Everybody who shows a sweep renders this state: `trials`, `best`, the live display, Optuna's study, MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gensweep.results import Cost, Evaluation, Outcome, Score, better, ranking
from gensweep.sweep.events import (
    Created,
    Ended,
    Evaluated,
    Event,
    Extended,
    Progressed,
    ScoredAgain,
    SessionEnded,
    SessionStarted,
    Started,
    Suggested,
    SweepStatus,
    TrialStatus,
)
from gensweep.sweep.log import Entry

__all__ = ["SweepState", "TrialState"]

#: Checkpoints of a running trial that are kept beside its best one: one more than resuming takes, if one is damaged.
CHECKPOINTS_KEPT = 2


@dataclass
class TrialState:
    """All that is known of a trial."""

    trial: str
    number: int
    """Optuna's number of it."""
    metric: str
    suggested: Mapping[str, Any]
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    created: int
    """Milliseconds since 1970."""
    status: Literal["waiting", "running"] | TrialStatus = "waiting"
    images: int = 0
    evaluations: dict[int, Evaluated] = field(default_factory=dict)
    """By training images, in their order."""
    best: Evaluated | None = None
    rungs: list[tuple[int, float]] = field(default_factory=list)
    """Training images and the best objective so far, at each evaluation."""
    numbers: dict[str, float] = field(default_factory=dict)
    """The newest of each."""
    error: str | None = None
    log: str | None = None
    ended_at: int | None = None
    """Milliseconds since 1970."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Scores of later evaluations."""

    @property
    def name(self) -> str:
        """The trial's name, for ranking."""
        return self.trial

    @property
    def ended(self) -> bool:
        """Whether it will not go on."""
        return self.status in ("finished", "pruned", "failed")

    @property
    def objective(self) -> Score | None:
        """The score of its best evaluated checkpoint."""
        return None if self.best is None else self.best.evaluation.scores[self.metric]

    @property
    def cost(self) -> Cost:
        """What it took until its best checkpoint."""
        return Cost() if self.best is None else self.best.evaluation.cost

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Where its last checkpoints lie, the newest first."""
        uris = [each.uri for each in self.evaluations.values() if each.uri is not None]
        return tuple(uris[: -CHECKPOINTS_KEPT - 1 : -1])

    @property
    def wanted(self) -> set[str]:
        """Checkpoints that are still of use: the best one, and while it can go on the last ones."""
        best = set() if self.best is None or self.best.uri is None else {self.best.uri}
        return best if self.ended else best | set(self.checkpoints)

    def standing(self, images: int, value: float) -> int:
        """How many evaluations in a row, an evaluation after so many images included, had this best objective."""
        best = {**dict(self.rungs), images: value}
        return sum(each == best[max(best)] for each in best.values())

    def objective_with(self, evaluation: Evaluation) -> Score | None:
        """What the objective is once an evaluation has come in."""
        score = evaluation.scores.get(self.metric)
        return score if score is not None and better(score, self.objective) else self.objective

    def take(self, event: Evaluated) -> None:
        """Take in an evaluation."""
        images = event.evaluation.images
        self.evaluations[images] = event
        self.images = max(self.images, images)
        self.numbers |= event.evaluation.numbers()
        score = event.evaluation.scores.get(self.metric)
        if score is None:
            return
        if better(score, self.objective):
            self.best = event
        assert self.objective is not None
        self.rungs.append((images, self.objective.value))


class SweepState:
    """What became of a sweep up to some event."""

    def __init__(self) -> None:
        self.created: Created | None = None
        self.started: int = 0
        self.trials: dict[str, TrialState] = {}
        self.wanted: int = 0
        """How many trials there are to be in the end."""
        self.status: Literal["running"] | SweepStatus = "finished"
        self.error: str | None = None
        self.sessions: list[SessionStarted] = []
        self.changed_at: int = 0
        """When something last happened, in milliseconds since 1970."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> SweepState:
        """The state after some events."""
        state = cls()
        for entry in entries:
            state.apply(entry.event, entry.time)
        return state

    def apply(self, event: Event, time: int) -> None:
        """Take in the next event.  What a log says of a trial that it does not know is passed over."""
        self.changed_at = time
        match event:
            case Created():
                self.created, self.wanted, self.started = event, event.trials, time
            case Extended():
                self.wanted = event.trials
            case SessionStarted():
                self.sessions.append(event)
                self.status, self.error = "running", None
            case SessionEnded():
                self.status, self.error = event.status, event.error
                for trial in self.running:
                    trial.status, trial.ended_at = "stopped", time
            case Suggested():
                self.trials[event.trial] = TrialState(
                    event.trial, event.number, self.metric, event.suggested, event.params, event.config, time
                )
            case _ if event.trial in self.trials:
                _apply_to_trial(self.trials[event.trial], event, time)

    @property
    def metric(self) -> str:
        """The metric that trials are ranked by."""
        return "" if self.created is None else self.created.metric

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which scores are the better ones."""
        return "min" if self.created is None else self.created.mode

    @property
    def running(self) -> list[TrialState]:
        """Trials that workers have."""
        return [trial for trial in self.trials.values() if trial.status == "running"]

    @property
    def unfinished(self) -> list[TrialState]:
        """Trials that can go on, in the order of their numbers."""
        return [trial for trial in self.trials.values() if not trial.ended]

    @property
    def ended(self) -> int:
        """How many trials will not go on."""
        return len(self.trials) - len(self.unfinished)

    @property
    def left(self) -> int:
        """How many trials are to be run."""
        return len(self.unfinished) + max(0, self.wanted - len(self.trials))

    @property
    def ranking(self) -> list[TrialState]:
        """The trials that can be ranked, the best first."""
        return ranking(self.trials.values())

    @property
    def best(self) -> TrialState | None:
        """The best trial."""
        return next(iter(self.ranking), None)

    @property
    def kept(self) -> list[TrialState]:
        """The trials whose best checkpoint is kept in the tracking server: the first of those that have ended."""
        count = 0 if self.created is None else self.created.keep_best
        return [trial for trial in self.ranking if trial.ended][:count]

    @property
    def failed(self) -> list[TrialState]:
        """Trials that failed."""
        return [trial for trial in self.trials.values() if trial.status == "failed"]


def _apply_to_trial(trial: TrialState, event: Event, time: int) -> None:
    match event:
        case Started():
            trial.status, trial.error, trial.ended_at = "running", None, None
        case Progressed():
            trial.images = max(trial.images, event.images)
            trial.numbers |= event.numbers
        case Evaluated():
            trial.take(event)
        case Ended():
            trial.status, trial.error, trial.log, trial.ended_at = event.status, event.error, event.log, time
        case ScoredAgain():
            trial.outcomes.append(event.outcome)
