"""The state of a trial, computed only from its events in the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gensweep.config.objectives import Constraint, Objective
from gensweep.results import COSTS, Cost, Identity, Outcome, Phase, Score, better, order_of
from gensweep.sweep import events

if TYPE_CHECKING:
    from gensweep.sweep.folder import SweepFolder

#: Numbers that tables and warnings show, like all whose names start with "signal/" or a metric.
SIGNALS = ("diversity", "authpct/memorised")
#: Checkpoints kept of a running trial besides its best one: one spare, in case one is damaged.
CHECKPOINTS_KEPT = 2


@dataclass(eq=False)
class TrialState:
    """State of a trial; times are in milliseconds since 1970.

    `params` and `config` are its settings.
    """

    trial: str
    number: int
    """Its number in the Optuna study."""
    metric: str
    suggested: Mapping[str, Any]
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    repeat_of: str | None = None
    """The trial that this one repeats with another seed."""
    known: Mapping[str, float] = field(default_factory=dict)
    """Costs of its configuration that have a limit."""
    objectives: tuple[Objective, ...] = ()
    """The objectives of the sweep, the score first."""
    constraints: tuple[Constraint, ...] = ()
    paced: events.Paced | None = None
    status: Literal["waiting", "running", "paused"] | events.TrialStatus = "waiting"
    has_waited: bool = False
    """True if the scheduler has paused it at a score."""
    images: int = 0
    evaluations: dict[int, events.Evaluated] = field(default_factory=dict)
    """By training images, ascending."""
    saved: dict[int, str] = field(default_factory=dict)
    """Checkpoints without a score, by training images."""
    best: events.Evaluated | None = None
    rungs: list[tuple[int, float]] = field(default_factory=list)
    """Training images and best objective so far, at each evaluation."""
    numbers: dict[str, float] = field(default_factory=dict)
    """The newest value of each metric."""
    phase: Phase | None = None
    """Current activity of its workers, if known."""
    error: str | None = None
    log: str | None = None
    infrastructure_error: bool = False
    """True if storage, data or lost processes failed it."""
    ended_at: int | None = None
    losses: list[events.Lost] = field(default_factory=list)
    """Failures that count, of this session and since its last checkpoint, the newest last."""
    scored_again: list[events.ScoredAgain] = field(default_factory=list)
    """Later evaluations of its checkpoints, each with the training images of its checkpoint."""
    folder: SweepFolder | None = None
    """The folder of its sweep, if known."""

    @property
    def sweep(self) -> str:
        """The name of its sweep, if known."""
        return "" if self.folder is None else self.folder.name

    @property
    def name(self) -> str:
        """Its name in commands: SWEEP/TRIAL."""
        return f"{self.sweep}/{self.trial}" if self.folder is not None else self.trial

    @property
    def imported(self) -> bool:
        """True if it was only scored here: its `family` is then the hash of the images."""
        return "sha256" in self.config.get("family", {})

    @property
    def checkpoint(self) -> str | None:
        """The folder or URL of its best checkpoint, or None."""
        if self.folder is None or self.best is None or self.best.checkpoint is None:
            return None
        return self.folder.existing(self.best.checkpoint)

    @property
    def family(self) -> str:
        """The kind of model."""
        family = self.config.get("family", {})
        return str(family.get("kind", "")) if isinstance(family, Mapping) else str(family)

    @property
    def initial_weights(self) -> Mapping[str, Any] | None:
        """The weights that it started from, with the costs of their training by unit if known; None for random ones."""
        start = self.config.get("start", {})
        return start if start.get("kind") == "weights" else None

    @property
    def length(self) -> int | None:
        """The length of its training in images, if known."""
        training = self.config.get("training")
        images = training.get("images") if isinstance(training, Mapping) else None
        return images if self.paced is None else self.paced.images

    @property
    def ended(self) -> bool:
        """True if it has ended."""
        return self.status in ("finished", "pruned", "failed", "infeasible")

    @property
    def score(self) -> Score | None:
        """The score of its best evaluated checkpoint."""
        return None if self.best is None else self.best.evaluation.scores[self.metric]

    @property
    def values(self) -> dict[str, float | None]:
        """Objectives of its best checkpoint."""
        return {each.metric: self._value(each.metric) for each in self.objectives}

    @property
    def objective_values(self) -> dict[str, float]:
        """All objectives of its best checkpoint, if there are several; empty unless all are known."""
        found = {metric: value for metric, value in self.values.items() if value is not None}
        return found if self.best is not None and len(found) == len(self.objectives) > 1 else {}

    def orders_at(self, images: int) -> tuple[float, ...]:
        """The objectives of its best checkpoint until then, such that lower values are better; unknown is infinite."""
        until = [each.evaluation for at, each in self.evaluations.items() if at <= images]
        best = min(until, key=lambda each: each.scores[self.metric].order if self.metric in each.scores else math.inf)
        found = [(each.mode, best.value(each.metric)) for each in self.objectives]
        return tuple(math.inf if value is None else order_of(value, mode) for mode, value in found)

    @property
    def excesses(self) -> dict[str, float]:
        """Amount by which each limit is exceeded (see Constraint); unknown values exceed none."""
        found = {each.metric: (each, self._value(each.metric)) for each in self.constraints}
        return {metric: 0.0 if value is None else each.excess(value) for metric, (each, value) in found.items()}

    @property
    def broken_limits(self) -> tuple[str, ...]:
        """Messages for the limits that its best checkpoint or its configuration breaks."""
        found = [(each, self._value(each.metric)) for each in self.constraints]
        return tuple(
            each.format_violation(value) for each, value in found if value is not None and each.excess(value) > 0
        )

    def _value(self, metric: str) -> float | None:
        found = None if self.best is None else self.best.evaluation.value(metric)
        return self.known.get(metric) if found is None else found

    @property
    def signals(self) -> Mapping[str, float]:
        """Signals of its best evaluated checkpoint that tables and warnings show."""
        if self.best is None:
            return {}
        found = self.best.evaluation
        kinds = {"signal", *found.scores}
        return {key: value for key, value in found.signals.items() if key in SIGNALS or key.partition("/")[0] in kinds}

    @property
    def curve(self) -> dict[int, float]:
        """Objective of each evaluation, by training images."""
        scored = {images: each.evaluation.scores.get(self.metric) for images, each in self.evaluations.items()}
        return {images: score.value for images, score in scored.items() if score is not None}

    @property
    def never_improved(self) -> bool:
        """True if no later evaluation improved on the first; compares only scores of one identity."""
        scores: dict[Identity, list[float]] = {}
        for event in self.evaluations.values():
            if (score := event.evaluation.scores.get(self.metric)) is not None:
                scores.setdefault(score.identity, []).append(score.order)
        several = [orders for orders in scores.values() if len(orders) > 1]
        return bool(several) and all(min(later) > first for first, *later in several)

    @property
    def outcomes(self) -> list[Outcome]:
        """Scores of later evaluations."""
        return [each.outcome for each in self.scored_again]

    @property
    def rescored(self) -> Score | None:
        """The newest score of its best checkpoint on other seeds than 0 with its objective's identity."""
        fresh, objective = self._fresh_scores, self.score
        return None if objective is None else fresh.get(objective.identity)

    @property
    def further_scores(self) -> tuple[Score, ...]:
        """The newest score of its best checkpoint on other seeds than 0 for each other identity, newest first."""
        objective = None if self.score is None else self.score.identity
        return tuple(score for identity, score in self._fresh_scores.items() if identity != objective)

    @property
    def _fresh_scores(self) -> dict[Identity, Score]:
        """The newest score of each identity for its best checkpoint, sampled as in training, on fresh seeds."""
        found = dict[Identity, Score]()
        for outcome in self._outcomes_at_best:
            if outcome.seed and outcome.as_trained and not outcome.panel:
                for score in outcome.scores.values():
                    found.setdefault(score.identity, score)
        return found

    @property
    def panel(self) -> Mapping[str, Score]:
        """The newest scores of its best checkpoint by the panel, sampled as in training; empty without any."""
        return next((each.scores for each in self._outcomes_at_best if each.panel and each.as_trained), {})

    @property
    def _outcomes_at_best(self) -> list[Outcome]:
        """Later scores of its best checkpoint, newest first."""
        images = None if self.best is None else self.best.evaluation.images
        found = [each.outcome for each in self.scored_again if each.images == images]
        return sorted(found, key=lambda outcome: outcome.time, reverse=True)

    @property
    def cost(self) -> Cost:
        """Cost of the training so far, and of the last evaluation."""
        known: dict[str, Any] = {name: value for name, value in self.numbers.items() if name in COSTS}
        return Cost(**known | {"images": self.images or None})

    @property
    def _stored(self) -> dict[int, str]:
        scored = {images: each.checkpoint for images, each in self.evaluations.items() if each.checkpoint is not None}
        return self.saved | scored

    @property
    def resumes_at(self) -> int:
        """Training images at its last checkpoint."""
        return max(self._stored, default=0)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The checkpoints to resume from, newest first."""
        return tuple(name for _, name in sorted(self._stored.items(), reverse=True))[:CHECKPOINTS_KEPT]

    @property
    def useful_checkpoints(self) -> set[str]:
        """Checkpoints to keep: the best one, and the last ones while it can resume or retry."""
        best = set() if self.best is None or self.best.checkpoint is None else {self.best.checkpoint}
        return best if self.status in ("finished", "pruned") else best | set(self.checkpoints)

    @property
    def evaluations_at_best(self) -> int:
        """Number of evaluations at which the best objective was the current one."""
        return sum(value == self.rungs[-1][1] for _, value in self.rungs)

    def apply(self, event: events.TrialEvent, time: int) -> None:
        """Apply the next event of this trial."""
        if isinstance(event, events.Started) or not isinstance(event, events.Report):
            self.phase = None
        match event:
            case events.Started():
                self.status, self.error, self.ended_at = "running", None, None
            case events.Lost():
                self.status = "waiting"
                self.losses += [event] if event.counts else []
            case events.Paced():
                self.paced = event
            case events.Entered():
                self.phase = event.phase
            case events.Progressed():
                self.images = max(self.images, event.images)
                self.numbers |= event.numbers
            case events.Evaluated():
                self._evaluate(event)
            case events.Saved():
                self.saved[event.images] = event.checkpoint
                self.images, self.losses = max(self.images, event.images), []
            case events.Paused():
                self.status, self.has_waited = "paused", bool(self.rungs)
            case events.Resumed():
                self.status, self.ended_at = "waiting", None
            case events.Ended():
                self.status, self.error, self.log, self.ended_at = event.status, event.error, event.log, time
                self.infrastructure_error = event.infrastructure_error
            case events.Retried():
                if self.ended:
                    self.status, self.error, self.log, self.ended_at = "waiting", None, None, None
                self.config, self.losses, self.infrastructure_error = event.config, [], False
            case events.ScoredAgain():
                self.scored_again.append(event)

    def _evaluate(self, event: events.Evaluated) -> None:
        images = event.evaluation.images
        if images not in self.evaluations:
            self.losses = []
        self.evaluations[images] = event
        self.images = max(self.images, images)
        self.numbers |= event.evaluation.cost.as_dict()
        score = event.evaluation.scores.get(self.metric)
        if score is None:
            return
        if better(score, self.score):
            self.best = event
        assert self.score is not None
        self.rungs.append((images, self.score.value))
