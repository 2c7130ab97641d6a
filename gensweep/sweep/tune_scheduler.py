"""Ray Tune's schedulers, fed from the log of a sweep: HyperBand, the median stopping rule, population based training.

Tune's own classes decide.  They hear the events of the log, in order, about trials that stand in for Tune's; so a
session that goes on has, once it has read the log, the scheduler that the one before had.  The session carries out
what they decide: a trial that is to pause ends for Tune, and later starts again from its checkpoint like any trial
that was interrupted.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

from ray.tune.experiment import Trial
from ray.tune.schedulers import HyperBandScheduler, MedianStoppingRule, PopulationBasedTraining, TrialScheduler

from gensweep.config import search_methods
from gensweep.config.ranges import Node
from gensweep.sweep import events
from gensweep.sweep.asha import ROUNDING, RUNG_TOLERANCE
from gensweep.sweep.perturbation import clipped, mutations
from gensweep.sweep.search_budget import Step
from gensweep.sweep.state import SweepState
from gensweep.sweep.sweep_plan import NEW
from gensweep.sweep.trial_state import TrialState

_TIME, _SCORE = "time", "score"
#: How many trials that are to be drawn it knows of: more than a usual sweep has.
MOST_AHEAD = 100

# What it does is in the log of the sweep; its own lines would be told again whenever that is read.
logging.getLogger("ray.tune.schedulers").setLevel(logging.WARNING)


class CloneSource(NamedTuple):
    """A checkpoint that another trial may go on from."""

    trial: str
    images: int
    uri: str


@dataclass
class Clone:
    """A decision that a trial goes on from another one's checkpoint, with these values of what was searched."""

    source: CloneSource
    params: Mapping[str, Any]


@dataclass(eq=False)
class _StandIn:
    """What Tune's schedulers ask of a trial."""

    trial_id: str
    config: dict[str, Any] = field(default_factory=dict)
    status: str = Trial.PENDING
    result: dict[str, float] = field(default_factory=dict)
    checkpoint: CloneSource | None = None
    clone: Clone | None = None
    experiment_tag: str = ""
    is_saving = False

    def __post_init__(self) -> None:
        self.evaluated_params: dict[str, Any] = {}
        self.temporary_state = SimpleNamespace(saving_to=None)
        kept = SimpleNamespace(num_to_keep=None)
        self.run_metadata = SimpleNamespace(checkpoint_manager=SimpleNamespace(checkpoint_config=kept))

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config


class TuneScheduler:
    """One sweep's scheduler; `apply` takes the events in, and what it wants of trials is read from it.

    It also knows of trials that are still to be drawn.  So brackets and populations fill in the order of the trials'
    numbers, however many run at once.
    """

    search_alg = None  # of a controller of Tune's, which this is for its schedulers

    def __init__(
        self,
        settings: search_methods.Scheduler,
        *,
        mode: Literal["min", "max"],
        budget: float,
        grace: float,
        nodes: tuple[Node, ...] = (),
        seed: int = 0,
    ) -> None:
        self._settings, self._seed = settings, seed
        self._budget, self._grace = budget, grace
        self._make = _maker(settings, mode, budget / grace, nodes)
        self._by_family = isinstance(settings, search_methods.MedianStopping)
        self._schedulers: dict[str, Any] = {"": self._make()}
        self._families: dict[str, str] = {}
        self._trials: dict[str, _StandIn] = {}
        self._ahead: list[_StandIn] = []
        """Trials that are to be drawn."""
        self._offered: list[str] | None = None

    # -- what Tune's schedulers ask of a controller ----------------------------------------------------------------

    def get_trials(self) -> list[_StandIn]:
        """All trials that were not taken back."""
        return [*self._trials.values(), *self._ahead]

    def get_live_trials(self) -> list[_StandIn]:
        """Those that have not ended."""
        return [trial for trial in self.get_trials() if not trial.is_finished()]

    def pause_trial(self, trial: _StandIn, should_checkpoint: bool = True) -> None:
        """Its checkpoint is there already."""
        trial.status = Trial.PAUSED

    def stop_trial(self, trial: _StandIn) -> None:
        """End a trial that waits."""
        trial.status = Trial.TERMINATED
        self._of(trial).on_trial_remove(self, trial)

    def _schedule_trial_save(self, trial: _StandIn, result: Any) -> CloneSource | None:
        return trial.checkpoint

    # -- what the session asks -------------------------------------------------------------------------------------

    def apply(self, event: events.Event, state: SweepState) -> None:
        """Take in the next event, with the state that follows from it."""
        self._offered = None
        match event:
            case events.Suggested(repeat_of=None):
                self._begin(event, state.trials[event.trial])
            case events.Extended() if isinstance(self._settings, search_methods.HyperBand):
                self._close_bracket()
            case events.Exhausted():
                while len(self._ahead) > state.wanted - len(state.searched):
                    self._end(self._ahead.pop(), failed=False)
            case events.Resumed() | events.Started() if event.trial in self._trials:
                if not (trial := self._trials[event.trial]).is_finished():
                    trial.status = Trial.RUNNING
            case events.Evaluated() if event.trial in self._trials:
                self._hear(self._trials[event.trial], event, state)
            case events.Cloned() if event.trial in self._trials:
                trial = self._trials[event.trial]
                trial.config |= {key: event.params[key] for key in trial.config if key in event.params}
                trial.clone = None
            case events.Ended() if event.trial in self._trials and event.status != "stopped":
                self._end(self._trials[event.trial], failed=event.status in ("failed", "infeasible"))
            case events.Retried() if event.trial in self._trials:
                trial = self._trials[event.trial]
                if trial.status == Trial.ERROR:  # one that was stopped stays so
                    trial.status = Trial.RUNNING
                    self._of(trial).on_trial_add(self, trial)
        while len(self._ahead) < min(MOST_AHEAD, state.wanted - len(state.searched)):
            self._ahead.append(ahead := _StandIn(NEW))
            self._of(ahead).on_trial_add(self, ahead)

    def wants(self, name: str) -> Literal["go on", "pause", "stop"]:
        """What is to become of a trial that has not ended."""
        match self._trials[name].status if name in self._trials else Trial.RUNNING:
            case Trial.PAUSED:
                return "pause"
            case Trial.TERMINATED:
                return "stop"
        return "go on"

    def stopping(self) -> list[str]:
        """Those that it has stopped."""
        return [name for name, trial in self._trials.items() if trial.status == Trial.TERMINATED]

    def going_on(self) -> dict[str, float]:
        """The share of what each paused trial has not spent that it will spend, at most and on average."""
        paused = (name for name, trial in self._trials.items() if trial.status == Trial.PAUSED)
        return dict.fromkeys(paused, self._settings.going_on)

    @property
    def first_step(self) -> Step:
        """To the end: who is to be stopped is not known beforehand."""
        return Step(1.0, 0)

    def clones(self) -> dict[str, Clone]:
        """By their names, trials that are to go on from checkpoints of others, and do not yet."""
        return {name: trial.clone for name, trial in self._trials.items() if trial.clone is not None}

    def offered(self) -> list[str]:
        """The trials that may run now, the next one first; NEW stands for one that is to be drawn.

        If all wait for a trial that will not come, as it failed, the first one goes on.
        """
        if self._offered is None:
            found, live = list[_StandIn](), {trial: trial.status for trial in self.get_live_trials()}
            while (trial := self._schedulers[""].choose_trial_to_run(self)) is not None:
                found.append(trial)
                trial.status = Trial.RUNNING
            for trial, status in live.items():
                trial.status = status
            if not found and set(live.values()) == {Trial.PAUSED}:
                found = [next(iter(live))]
            self._offered = [trial.trial_id for trial in found]
        return list(dict.fromkeys(self._offered))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _of(self, trial: _StandIn) -> Any:
        """The scheduler that compares a trial with others: of the median stopping rule, one for each family."""
        family = self._families.get(trial.trial_id, "") if self._by_family else ""
        if family not in self._schedulers:
            self._schedulers[family] = self._make()
        return self._schedulers[family]

    def _begin(self, event: events.Suggested, state: TrialState) -> None:
        added, trial = bool(self._ahead), self._ahead.pop(0) if self._ahead else _StandIn(NEW)
        trial.trial_id, trial.status, trial.config = event.trial, Trial.RUNNING, dict(event.params)
        self._trials[event.trial], self._families[event.trial] = trial, state.family
        if not added:
            self._of(trial).on_trial_add(self, trial)

    def _hear(self, trial: _StandIn, event: events.Evaluated, state: SweepState) -> None:
        score, images = event.evaluation.scores.get(state.metric), event.evaluation.images
        known = state.trials[event.trial]
        if score is None or trial.is_finished():
            return
        spent = state.spent(known, images)
        trial.result = {_TIME: at_rung(spent / self._grace), _SCORE: score.value}
        if isinstance(self._settings, search_methods.HyperBand):
            trial.result[_SCORE] = known.rungs[-1][1]
        if event.uri is not None:
            trial.checkpoint = CloneSource(event.trial, images, event.uri)
        if spent >= self._budget * (1 - ROUNDING):
            return
        trial.status = Trial.RUNNING
        decision = self._decide(trial)
        if decision == TrialScheduler.PAUSE:
            trial.status = Trial.PAUSED
        elif decision == TrialScheduler.STOP:
            self._end(trial, failed=False)

    def _decide(self, trial: _StandIn) -> str:
        """What Tune's scheduler says to a trial's newest result; whoever is cloned by that has a clone from then on."""
        configs = {other: other.config for other in self.get_trials()}
        # Not by the trial: which one comes last to where all wait for each other is chance.
        with _seeded(f"{self._seed} {round(trial.result[_TIME])}"):
            decision: str = self._of(trial).on_trial_result(self, trial, dict(trial.result))
        for other, config in configs.items():
            if other.config is not config:
                source: CloneSource = other.run_metadata.checkpoint_manager._latest_checkpoint_result.checkpoint
                other.clone = Clone(source, dict(other.config))
        self._go_on_halving()
        return decision

    def _go_on_halving(self) -> None:
        """Let Tune's HyperBand halve a bracket again: it notes that it is at that, and never that it has done so."""
        for scheduler in self._schedulers.values():
            for bracket in itertools.chain.from_iterable(getattr(scheduler, "_hyperbands", ())):
                if bracket is not None:
                    bracket.is_being_processed = False

    def _close_bracket(self) -> None:
        """Let no more trials into the newest bracket if it was full, or was halved: they would train to the end.

        One that was halved before it was full is followed by one that begins at the same rung.
        """
        scheduler = self._schedulers[""]
        bracket, band = scheduler._state["bracket"], scheduler._state["band_idx"]
        is_full = len(bracket._all_trials) >= bracket._n0
        if is_full or bracket._r > bracket._r0:
            scheduler._state["bracket"] = None
            if not is_full:  # Tune counts those of a band to know where the next one begins
                scheduler._hyperbands.insert(band, [scheduler._hyperbands[band].pop()])
                scheduler._state["band_idx"] += 1

    def _end(self, trial: _StandIn, *, failed: bool) -> None:
        before, scheduler = trial.status, self._of(trial)
        if trial.is_finished():
            return
        trial.status = Trial.ERROR if failed else Trial.TERMINATED
        if before in (Trial.PAUSED, Trial.PENDING):
            scheduler.on_trial_remove(self, trial)
        elif failed:
            scheduler.on_trial_error(self, trial)
        elif trial.result:
            scheduler.on_trial_complete(self, trial, dict(trial.result))
        self._go_on_halving()
        if isinstance(self._settings, search_methods.PopulationBasedTraining):
            self._perturb_without(trial)

    def _perturb_without(self, gone: _StandIn) -> None:
        """Let a population go on whose trials have all waited for one that failed."""
        live = self.get_live_trials()
        if gone.status == Trial.ERROR and live and all(each.status == Trial.PAUSED for each in live):
            self._decide(live[0])


def at_rung(time: float) -> float:
    """A time that is a little short of a whole one, at which Tune's schedulers look, as that; others as they are."""
    return max(time, round(time)) if round(time) * (1 - RUNG_TOLERANCE) <= time else time


def _maker(
    settings: search_methods.Scheduler, mode: Literal["min", "max"], rungs: float, nodes: tuple[Node, ...]
) -> Callable[[], TrialScheduler]:
    """What makes Tune's scheduler, whose time is counted in what a trial spends before its first rung."""
    common: dict[str, Any] = {"time_attr": _TIME, "metric": _SCORE, "mode": mode}
    match settings:
        case search_methods.HyperBand():
            # Trials of the last rung go on to the end of their budget, which may lie behind it.
            bands: dict[str, Any] = {"reduction_factor": settings.reduction, "stop_last_trials": False}
            return lambda: HyperBandScheduler(**common, max_t=int(rungs * (1 + ROUNDING)), **bands)
        case search_methods.MedianStopping():
            # A trial never makes way for others that might be compared with it sooner.
            rule: dict[str, Any] = {"min_samples_required": settings.min_trials, "min_time_slice": float("inf")}
            return lambda: MedianStoppingRule(**common, grace_period=1.0, **rule)
        case search_methods.PopulationBasedTraining():
            perturbed: dict[str, Any] = {
                "hyperparam_mutations": mutations(nodes),
                "custom_explore_fn": lambda config: clipped(config, nodes),
                "quantile_fraction": settings.quantile,
                "resample_probability": settings.resample,
                "perturbation_factors": settings.factors,
            }
            # All trials wait for each other, so that the result does not depend on how many run at once.
            waiting: dict[str, Any] = {"synch": True, "log_config": False, "perturbation_interval": 1.0}
            return lambda: PopulationBasedTraining(**common, **perturbed, **waiting)
    raise ValueError(f"{settings.kind} is no scheduler of Tune's")


@contextlib.contextmanager
def _seeded(seed: str) -> Iterator[None]:
    """Tune draws from the global state of randomness; within this it is seeded, and left as it was."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
