"""The state of a sweep, which follows from the events of its log and from nothing else.

Everybody who shows a sweep renders this state: `trials`, `best`, the live display, Optuna's study, MLflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gensweep.config.objectives import Constraint, Objective
from gensweep.ranking import ranking
from gensweep.results import Cost, Identity, Outcome, Score, Unit, better
from gensweep.sweep import events
from gensweep.sweep.log import LogEntry

#: Checkpoints of a running trial that are kept beside its best one: one more than resuming takes, if one is damaged.
CHECKPOINTS_KEPT = 2


@dataclass
class TrialState:
    """All that is known of a trial; times are in milliseconds since 1970."""

    trial: str
    number: int
    """Optuna's number of it."""
    metric: str
    suggested: Mapping[str, Any]
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    repeat_of: str | None = None
    """The trial that this one repeats with another seed."""
    sampler_state: Mapping[str, int] = field(default_factory=dict)
    """What the sampler noted of it."""
    known: Mapping[str, float] = field(default_factory=dict)
    """Costs that follow from its configuration, of those that have a limit."""
    objectives: tuple[Objective, ...] = ()
    """Those of the sweep, the score first."""
    constraints: tuple[Constraint, ...] = ()
    lineage: list[events.Cloned] = field(default_factory=list)
    """The clonings by which it came to its present weights and configuration."""
    paced: events.Paced | None = None
    status: Literal["waiting", "running", "paused"] | events.TrialStatus = "waiting"
    images: int = 0
    evaluations: dict[int, events.Evaluated] = field(default_factory=dict)
    """By training images, in their order."""
    saved: dict[int, str] = field(default_factory=dict)
    """The URIs of checkpoints without a score, by training images."""
    best: events.Evaluated | None = None
    rungs: list[tuple[int, float]] = field(default_factory=list)
    """Training images and the best objective so far, at each evaluation."""
    numbers: dict[str, float] = field(default_factory=dict)
    """The newest of each."""
    stalled: float = 0.0
    """For how many seconds it had made no progress, when that was told."""
    error: str | None = None
    log: str | None = None
    outside: bool = False
    """Whether it failed for a cause outside of it."""
    ended_at: int | None = None
    losses: list[events.Lost] = field(default_factory=list)
    """Those that count, in this session and since its last new checkpoint, the newest last."""
    outcomes: list[Outcome] = field(default_factory=list)
    """Scores of later evaluations."""

    @property
    def name(self) -> str:
        """The trial's name, for ranking."""
        return self.trial

    @property
    def family(self) -> str:
        """The kind of model that it trains."""
        family = self.config.get("family", {})
        return str(family.get("kind", "")) if isinstance(family, Mapping) else str(family)

    @property
    def length(self) -> int | None:
        """After how many images its training ends, if it is known."""
        training = self.config.get("training")
        images = training.get("images") if isinstance(training, Mapping) else None
        return images if self.paced is None else self.paced.images

    @property
    def ended(self) -> bool:
        """Whether it will not go on."""
        return self.status in ("finished", "pruned", "failed", "infeasible")

    @property
    def objective(self) -> Score | None:
        """The score of its best evaluated checkpoint."""
        return None if self.best is None else self.best.evaluation.scores[self.metric]

    @property
    def values(self) -> dict[str, float | None]:
        """What its best checkpoint has of each objective."""
        return {each.metric: self._value(each.metric) for each in self.objectives}

    @property
    def excesses(self) -> dict[str, float]:
        """By metric, by how much it breaks a limit, as in Constraint; what is not known breaks none."""
        found = {each.metric: (each, self._value(each.metric)) for each in self.constraints}
        return {metric: 0.0 if value is None else each.excess(value) for metric, (each, value) in found.items()}

    @property
    def broken_limits(self) -> tuple[str, ...]:
        """The limits that it breaks, in words, at its best checkpoint or by its configuration."""
        found = [(each, self._value(each.metric)) for each in self.constraints]
        return tuple(each.words(value) for each, value in found if value is not None and each.excess(value) > 0)

    def _value(self, metric: str) -> float | None:
        found = None if self.best is None else self.best.evaluation.value(metric)
        return self.known.get(metric) if found is None else found

    @property
    def signals(self) -> Mapping[str, float]:
        """Those of its best evaluated checkpoint."""
        return {} if self.best is None else self.best.evaluation.signals

    @property
    def curve(self) -> dict[int, float]:
        """By training images, the objective of each evaluation, as it was."""
        scored = {images: each.evaluation.scores.get(self.metric) for images, each in self.evaluations.items()}
        return {images: score.value for images, score in scored.items() if score is not None}

    @property
    def never_improved(self) -> bool:
        """Whether its first evaluation has stayed the best one; only scores of one identity are compared."""
        scores: dict[Identity, list[float]] = {}
        for event in self.evaluations.values():
            if (score := event.evaluation.scores.get(self.metric)) is not None:
                scores.setdefault(score.identity, []).append(score.order)
        several = [orders for orders in scores.values() if len(orders) > 1]
        return bool(several) and all(min(later) > first for first, *later in several)

    @property
    def rescored(self) -> Score | None:
        """The newest score of its best checkpoint on other seeds than 0 that is of its objective's identity."""
        fresh, objective = self._fresh_scores, self.objective
        return None if objective is None else fresh.get(objective.identity)

    @property
    def further_scores(self) -> tuple[Score, ...]:
        """The newest score on other seeds than 0 of each other identity, the newest first."""
        objective = None if self.objective is None else self.objective.identity
        return tuple(score for identity, score in self._fresh_scores.items() if identity != objective)

    @property
    def _fresh_scores(self) -> dict[Identity, Score]:
        """The newest score of each identity, of images that were drawn as in training but from other seeds than 0."""
        found = dict[Identity, Score]()
        for outcome in sorted(self.outcomes, key=lambda outcome: outcome.time, reverse=True):
            if outcome.seed and outcome.as_trained:
                for score in outcome.scores.values():
                    found.setdefault(score.identity, score)
        return found

    @property
    def cost(self) -> Cost:
        """What it took until its best checkpoint."""
        return Cost() if self.best is None else self.best.evaluation.cost

    @property
    def stored_checkpoints(self) -> tuple[str, ...]:
        """The URIs of all checkpoints that were reported, also of deleted ones, the newest first."""
        return tuple(uri for _, uri in sorted(self._stored.items(), reverse=True))

    @property
    def _stored(self) -> dict[int, str]:
        scored = {images: each.uri for images, each in self.evaluations.items() if each.uri is not None}
        return self.saved | scored

    @property
    def resumes_at(self) -> int:
        """After how many training images its last checkpoint was made."""
        return max(self._stored, default=0)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The URIs of the checkpoints to resume from, the newest first."""
        if not self.lineage:
            return self.stored_checkpoints[:CHECKPOINTS_KEPT]
        cloned = self.lineage[-1]
        since = [uri for images, uri in sorted(self._stored.items(), reverse=True) if images > cloned.images]
        return (*since, cloned.uri)[:CHECKPOINTS_KEPT]

    @property
    def useful_checkpoints(self) -> set[str]:
        """Checkpoints that are still of use: the best one, and the last ones while it can go on or be tried again."""
        best = set() if self.best is None or self.best.uri is None else {self.best.uri}
        return best if self.status in ("finished", "pruned") else best | set(self.checkpoints)

    @property
    def evaluations_at_best(self) -> int:
        """How many of the evaluations have had today's best objective, the one that brought it included."""
        return sum(value == self.rungs[-1][1] for _, value in self.rungs)

    def apply(self, event: events.TrialEvent, time: int) -> None:
        """Take in the next event of this trial."""
        self.stalled = event.seconds if isinstance(event, events.Stalled) else 0.0
        match event:
            case events.Started():
                self.status, self.error, self.ended_at = "running", None, None
            case events.Lost():
                self.status = "waiting"
                self.losses += [event] if event.counts else []
            case events.Paced():
                self.paced = event
            case events.Progressed():
                self.images = max(self.images, event.images)
                self.numbers |= event.numbers
            case events.Evaluated():
                self._evaluate(event)
            case events.Saved():
                self.saved[event.images] = event.uri
                self.images, self.losses = max(self.images, event.images), []
            case events.Paused():
                self.status = "paused"
            case events.Cloned():
                self._clone(event)
            case events.Ended():
                self.status, self.error, self.log, self.ended_at = event.status, event.error, event.log, time
                self.outside = event.outside
            case events.Retried():
                self.status, self.error, self.log, self.ended_at = "waiting", None, None, None
                self.config, self.losses, self.outside = event.config, [], False
            case events.ScoredAgain():
                self.outcomes.append(event.outcome)

    def _clone(self, event: events.Cloned) -> None:
        """Go on from there: what was found later is of weights that are given up."""
        self.lineage.append(event)
        self.params, self.config, self.images = event.params, event.config, event.images
        found, self.evaluations = self.evaluations, {}
        self.best, self.rungs = None, []
        self.saved = {images: uri for images, uri in self.saved.items() if images < event.images}
        for images, evaluated in found.items():
            if images <= event.images:
                self._evaluate(evaluated)

    def _evaluate(self, event: events.Evaluated) -> None:
        images = event.evaluation.images
        if images not in self.evaluations:
            self.losses = []
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
    """What became of a sweep up to some event; times are in milliseconds since 1970."""

    def __init__(self) -> None:
        self.created: events.Created | None = None
        self.started: int = 0
        self.known: list[Mapping[str, Any]] = []
        """Trials of other sweeps whose scores the search knows."""
        self.queue: list[Mapping[str, Any]] = []
        """Parameters of the best trials of other sweeps, which come first."""
        self.trials: dict[str, TrialState] = {}
        self.wanted: int = 0
        """How many trials the search is to draw."""
        self.exhausted: bool = False
        """Whether the budget of the search is used up."""
        self.status: Literal["running"] | events.SweepStatus = "finished"
        self.error: str | None = None
        self.failed_in_a_row: int = 0
        """How many of the trials that ended last failed for a cause outside of them, in this session."""
        self.infeasible_in_a_row: int = 0
        """How many of the trials that ended last were not trained, as they break a limit."""
        self.objectives: tuple[Objective, ...] = ()
        self.constraints: tuple[Constraint, ...] = ()
        self.sessions: list[events.SessionStarted] = []
        self.scaled: events.Scaled | None = None
        """What the cluster holds, as far as this session has looked."""
        self.changed_at: int = 0

    @classmethod
    def of(cls, entries: Iterable[LogEntry]) -> SweepState:
        """The state after some events."""
        state = cls()
        for entry in entries:
            state.apply(entry.event, entry.time)
        return state

    def apply(self, event: events.Event, time: int) -> None:
        """Take in the next event.  What a log says of a trial that it does not know is passed over."""
        self.changed_at = time
        match event:
            case events.Created():
                self.created, self.wanted, self.started = event, event.trials, time
                first = Objective(metric=event.metric, mode=event.mode)
                self.objectives = (first, *(Objective(**each) for each in event.further))
                self.constraints = tuple(Constraint(**each) for each in event.constraints)
            case events.WarmStarted():
                self.known += event.known
                self.queue += event.queue
            case events.Extended():
                self.wanted = event.trials
            case events.Exhausted():
                self.wanted, self.exhausted = event.trials, True
            case events.SessionStarted():
                self.sessions.append(event)
                self.status, self.error, self.failed_in_a_row, self.scaled = "running", None, 0, None
                for trial in self.trials.values():
                    trial.losses = []
            case events.Scaled():
                self.scaled = event
            case events.SessionEnded():
                self.status, self.error = event.status, event.error
                for trial in [*self.running, *self.waiting]:
                    trial.status, trial.ended_at = "stopped", time
            case events.Suggested():
                self.trials[event.trial] = TrialState(
                    event.trial,
                    event.number,
                    self.metric,
                    event.suggested,
                    event.params,
                    event.config,
                    event.repeat_of,
                    event.sampler_state,
                    event.known,
                    self.objectives,
                    self.constraints,
                )
            case _ if event.trial in self.trials:
                self.trials[event.trial].apply(event, time)
                if isinstance(event, events.Ended) and event.status != "stopped":
                    self.failed_in_a_row = self.failed_in_a_row + 1 if event.outside else 0
                    infeasible = event.status == "infeasible"
                    self.infeasible_in_a_row = self.infeasible_in_a_row + 1 if infeasible else 0

    @property
    def metric(self) -> str:
        """The metric that trials are ranked by."""
        return "" if self.created is None else self.created.metric

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which scores are the better ones."""
        return "min" if self.created is None else self.created.mode

    @property
    def unit(self) -> Unit:
        """In what the budget of a training is counted."""
        return "images" if self.created is None else self.created.unit

    @property
    def search_unit(self) -> Unit:
        """In what the budget of the whole search is counted."""
        return "device_seconds" if self.created is None else self.created.search_unit

    def spent(self, trial: TrialState, images: int) -> float:
        """What a training has spent after so many images, in the unit of its budget."""
        budget = None if self.created is None else self.created.budget
        return images if budget is None or not trial.length else budget * images / trial.length

    @property
    def searched(self) -> list[TrialState]:
        """The trials that the search has drawn."""
        return [trial for trial in self.trials.values() if trial.repeat_of is None]

    @property
    def total(self) -> int:
        """How many trials there are to be in the end, repeats included."""
        return self.wanted + len(self.trials) - len(self.searched)

    @property
    def running(self) -> list[TrialState]:
        """Trials that workers have."""
        return [trial for trial in self.trials.values() if trial.status == "running"]

    @property
    def waiting(self) -> list[TrialState]:
        """Trials that wait for workers."""
        return [trial for trial in self.trials.values() if trial.status == "waiting"]

    @property
    def useful_checkpoints(self) -> set[str]:
        """Checkpoints that some trial still needs."""
        return {uri for trial in self.trials.values() for uri in trial.useful_checkpoints}

    @property
    def paused(self) -> list[TrialState]:
        """Trials that the scheduler holds until others have come as far."""
        return [trial for trial in self.trials.values() if trial.status == "paused"]

    @property
    def failed(self) -> list[TrialState]:
        """Trials that failed."""
        return [trial for trial in self.trials.values() if trial.status == "failed"]

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
        return len(self.unfinished) + max(0, self.wanted - len(self.searched))

    @property
    def ranking(self) -> list[TrialState]:
        """The trials that can be ranked, the best first."""
        return ranking(self.trials.values())

    @property
    def best(self) -> TrialState | None:
        """The best trial."""
        return next(iter(self.ranking), None)

    @property
    def best_score(self) -> Score | None:
        """The score of the best trial."""
        return None if self.best is None else self.best.objective

    @property
    def kept(self) -> list[TrialState]:
        """The trials whose best checkpoint is kept in the tracking server: the first of those that have ended."""
        count = 0 if self.created is None else self.created.keep_best
        return [trial for trial in self.ranking if trial.ended][:count]
