"""The state of a sweep, computed only from the events of its log.

All views of a sweep show this state: `trials`, `best`, the live display, the copies in other programs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from gensweep.config.objectives import Constraint, Objective
from gensweep.results import Score, Unit
from gensweep.sweep import events
from gensweep.sweep.log import LogEntry
from gensweep.sweep.ranking import ranked
from gensweep.sweep.spending import SearchSpending
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from gensweep.sweep.folder import SweepFolder

_NUMBERED = re.compile(r"t(\d+)")
#: Seconds before a deadline that a session needs to save, to stop Ray, and to report.
END_SECONDS = 25.0
#: The same to score the best trial on fresh seeds, as a multiple of the most expensive evaluation.
END_SCORINGS = 1.5


class SweepState:
    """State of a sweep after its events; times are in milliseconds since 1970, `folder` is None without a folder."""

    def __init__(self, folder: SweepFolder | None = None) -> None:
        self.folder = folder
        self.created: events.Created | None = None
        self.started: int = 0
        self.sources: list[str] = []
        """Folders of the sweeps whose best settings are in `queue`."""
        self.queue: list[Mapping[str, Any]] = []
        """Parameters of the best trials of other sweeps, sampled first."""
        self.trials: dict[str, TrialState] = {}
        self.searched: list[TrialState] = []
        """Trials sampled by the search."""
        self.next_number = 0
        """One more than the highest trial number in the log, including trials whose `suggested` line is lost."""
        self.unfinished: list[TrialState] = []
        """Trials that can resume."""
        self.wanted: int = 0
        """The number of trials that the search samples."""
        self.exhausted: bool = False
        """True if the search budget is spent."""
        self.beyond_budget = 0
        """Trials that the user requested regardless of the budget."""
        self.repeats: events.RepeatsAsked | None = None
        """Repeats with other seeds that were requested after the start."""
        self.status: Literal["running"] | events.SweepStatus = "finished"
        self.error: str | None = None
        self.infrastructure_errors_in_a_row: int = 0
        """Consecutive trials of this session that failed because of storage, data or lost processes."""
        self.infeasible_in_a_row: int = 0
        """Consecutive trials that were not trained because they break a limit."""
        self.failures_in_a_row: int = 0
        """Consecutive trials of this session that failed or were not trained."""
        self.objectives: tuple[Objective, ...] = ()
        self.constraints: tuple[Constraint, ...] = ()
        self.sessions: list[events.SessionStarted] = []
        self.scaled: events.Scaled | None = None
        """The size of the cluster, as last seen in this session."""
        self.changed_at: int = 0

    @classmethod
    def of(cls, entries: Iterable[LogEntry], folder: SweepFolder | None = None) -> SweepState:
        """The state after some events."""
        state = cls(folder)
        for entry in entries:
            state.apply(entry.event, entry.time)
        return state

    def apply(self, event: events.Event, time: int) -> None:
        """Apply the next event.  Events of unknown trials are ignored."""
        self.changed_at = time
        match event:
            case events.Created():
                self.created, self.wanted, self.started = event, event.trials, time
                first = Objective(metric=event.metric, mode=event.mode)
                self.objectives = (first, *(Objective(**each) for each in event.further))
                self.constraints = tuple(Constraint(**each) for each in event.constraints)
            case events.WarmStarted():
                self.sources.append(event.source)
                self.queue += event.queue
            case events.Extended():
                self.beyond_budget += event.trials - self.wanted
                self.wanted, self.repeats = event.trials, None
            case events.Exhausted():
                self.wanted, self.exhausted = event.trials, True
            case events.RepeatsAsked():
                self.repeats = event
            case events.SessionStarted():
                self.sessions.append(event)
                self.status, self.error, self.scaled = "running", None, None
                self.infrastructure_errors_in_a_row = self.failures_in_a_row = 0
                for trial in self.trials.values():
                    trial.losses, trial.phase = [], None
            case events.Scaled():
                self.scaled = event
            case events.Stopping():
                pass
            case events.SessionEnded():
                self.status, self.error = event.status, event.error
                for trial in [*self.running, *self.waiting]:
                    trial.status, trial.ended_at = "stopped", time
            case events.Suggested():
                trial = TrialState(
                    event.trial,
                    event.number,
                    self.metric,
                    event.suggested,
                    event.params,
                    event.config,
                    event.repeat_of,
                    event.known,
                    self.objectives,
                    self.constraints,
                    folder=self.folder,
                )
                start = None if self.created is None else self.created.start
                if start is not None and trial.number == 0 and trial.repeat_of is None:
                    trial.images, trial.saved = start["images"], {start["images"]: start["checkpoint"]}
                self.trials[trial.trial] = trial
                self.next_number = max(self.next_number, trial.number + 1)
                self.unfinished.append(trial)
                if trial.repeat_of is None:
                    self.searched.append(trial)
            case _ if event.trial in self.trials:
                self._apply_to(self.trials[event.trial], event, time)
            case _ if number := _NUMBERED.match(event.trial):
                self.next_number = max(self.next_number, int(number[1]) + 1)

    def _apply_to(self, trial: TrialState, event: events.TrialEvent, time: int) -> None:
        ended = trial.ended
        trial.apply(event, time)
        if trial.ended and not ended:
            self.unfinished = [each for each in self.unfinished if each is not trial]
        elif ended and not trial.ended:
            self.unfinished = [each for each in self.trials.values() if not each.ended]
        if isinstance(event, events.Ended) and event.status != "stopped":
            self.infrastructure_errors_in_a_row = (
                self.infrastructure_errors_in_a_row + 1 if event.infrastructure_error else 0
            )
        if trial.repeat_of is None and ((trial.ended and not ended) or isinstance(event, events.Paused)):
            self.infeasible_in_a_row = self.infeasible_in_a_row + 1 if trial.status == "infeasible" else 0
            self.failures_in_a_row = self.failures_in_a_row + 1 if trial.status in ("infeasible", "failed") else 0

    @property
    def metric(self) -> str:
        """The metric that ranks trials."""
        return "" if self.created is None else self.created.metric

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether lower or higher scores are better."""
        return "min" if self.created is None else self.created.mode

    @property
    def unit(self) -> Unit:
        """The unit of a training's budget."""
        return "images" if self.created is None else self.created.unit

    def spent(self, trial: TrialState, images: int) -> float:
        """Spending of a training after `images` images, in the unit of its budget."""
        budget = None if self.created is None else self.created.budget
        return images if budget is None or not trial.length else budget * images / trial.length

    @property
    def spending(self) -> SearchSpending:
        """Spending of the search, in the unit of its budget."""
        return SearchSpending.of(self.searched, "device_seconds" if self.created is None else self.created.search_unit)

    @property
    def seconds_left(self) -> float:
        """Seconds that trials may still train, as of the last event: infinity without a deadline."""
        if not self.sessions or (deadline := self.sessions[-1].deadline) is None:
            return math.inf
        scoring = self.mean_seconds.scoring / self.sessions[-1].workers
        return (deadline - self.changed_at) / 1000 - END_SECONDS - END_SCORINGS * scoring

    @property
    def mean_seconds(self) -> SearchSpending:
        """Spending of the search in seconds times devices, with a mean training."""
        return SearchSpending.of(self.searched, "device_seconds", fmean)

    @property
    def training(self) -> list[TrialState]:
        """Trials of the search that have neither ended nor paused."""
        return [trial for trial in self.unfinished if trial.status != "paused" and trial.repeat_of is None]

    @property
    def wanted_once_exhausted(self) -> int:
        """Total number of trials if the search budget pays for no further one."""
        return min(len(self.searched), self.wanted - self.beyond_budget) + self.beyond_budget

    @property
    def total(self) -> int:
        """Total number of trials, repeats included."""
        return self.wanted + len(self.trials) - len(self.searched)

    @property
    def running(self) -> list[TrialState]:
        """Trials that are running."""
        return [trial for trial in self.unfinished if trial.status == "running"]

    @property
    def waiting(self) -> list[TrialState]:
        """Trials that wait for workers."""
        return [trial for trial in self.unfinished if trial.status == "waiting"]

    @property
    def useful_checkpoints(self) -> set[str]:
        """Checkpoints that a trial still needs, including the start of the first trial before it is sampled."""
        start = None if self.created is None or self.trials else self.created.start
        needed = set() if start is None else {start["checkpoint"]}
        return needed.union(*(trial.useful_checkpoints for trial in self.trials.values()))

    @property
    def paused(self) -> list[TrialState]:
        """Trials paused by the scheduler."""
        return [trial for trial in self.unfinished if trial.status == "paused"]

    @property
    def failed(self) -> list[TrialState]:
        """Trials that failed."""
        return [trial for trial in self.trials.values() if trial.status == "failed"]

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return len(self.trials) - len(self.unfinished)

    @property
    def undecided(self) -> int:
        """Number of trials of the search that have started and not ended."""
        return sum(trial.repeat_of is None for trial in self.unfinished)

    @property
    def left(self) -> int:
        """Number of trials to run."""
        return len(self.unfinished) + max(0, self.wanted - len(self.searched))

    @property
    def ranking(self) -> list[TrialState]:
        """Trials that can be ranked, best first."""
        return ranked(self.trials.values())

    @property
    def best(self) -> TrialState | None:
        """The best trial."""
        return next(iter(self.ranking), None)

    @property
    def best_score(self) -> Score | None:
        """The score of the best trial."""
        best = self.best
        return None if best is None else best.score

    @property
    def kept(self) -> list[TrialState]:
        """Ended trials whose best checkpoint goes to the tracking server, best first."""
        count = 0 if self.created is None else self.created.keep_best
        return [trial for trial in self.ranking if trial.ended][:count]
