"""Asynchronous successive halving (ASHA) on compute: which trials go on from a rung, and which wait there."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple

from gensweep.sweep import events
from gensweep.sweep.search_budget import BudgetLeft, Step, budget_left
from gensweep.sweep.state import SweepState
from gensweep.sweep.sweep_plan import NEW
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from gensweep.sweep.tune_scheduler import Clone

#: Amounts that differ by this share are equal: they come from divisions of floating point numbers.
ROUNDING = 1e-9
#: A score that comes by this share too early for a rung counts there, as people write 0.33 for a third.
RUNG_TOLERANCE = 0.1
#: Of so many trials the better one goes on at once, so that a search that has only begun has one that came far.
FEWEST = 2
#: How far a trial trains until its next score is taken from so many that were scored there last.
REMEMBERED_SCORINGS = 9


class Arrival(NamedTuple):
    """With which score a trial came to a rung, the better ones first."""

    order: float
    number: int
    trial: str


class Scored(NamedTuple):
    """After which share of its training a trial was scored at a rung, and how often since the rung before."""

    share: float
    scorings: int


class Rung:
    """The trials that came to a rung: those of one family, or of all that are compared.

    The best 1 / `reduction` of them go on, and the best one as soon as there are `fewest`.
    """

    def __init__(self, reduction: int, fewest: int) -> None:
        self._reduction, self._fewest = reduction, fewest
        self._arrivals: list[Arrival] = []
        self._waiting: dict[str, list[Arrival]] = defaultdict(list)
        """By family, in their order."""
        self._came: dict[str, int] = defaultdict(int)
        self._went_on: dict[str, int] = defaultdict(int)

    def arrive(self, arrival: Arrival, family: str) -> None:
        """Let a trial wait here."""
        insort(self._arrivals, arrival)
        insort(self._waiting[family], arrival)
        self._came[family] += 1

    def leave(self, arrival: Arrival, family: str, *, on: bool) -> None:
        """Let a trial that waits go on, or end."""
        waiting = self._waiting[family]
        del waiting[bisect_left(waiting, arrival)]
        self._went_on[family] += on

    def going_on(self) -> list[Arrival]:
        """Who may go on now, the best first: the best of all, and a few of each family's best."""
        best, found = self._best_of(len(self._arrivals)), list[Arrival]()
        for family, waiting in self._waiting.items():
            found += takewhile(lambda each: self._place(each) < best, waiting)
            follows = self._went_on[family] < followed(self._came[family], self._reduction)
            if follows and waiting and waiting[0] not in found:
                found.append(waiting[0])
        return sorted(found)

    def hopeless(self, most: int, families: Set[str]) -> Iterator[Arrival]:
        """Who of these waits and will not be among the best once `most` trials came, nor be followed."""
        best, follows = self._best_of(most), followed(most, self._reduction)
        for family in [each for each in self._came if each in families]:
            waiting, spared = self._waiting[family], max(1, follows - self._went_on[family])
            for each in islice(reversed(waiting), max(0, len(waiting) - spared)):
                if self._place(each) < best:
                    break
                yield each

    def most_going_on(self, most: int) -> int:
        """How many of those that came will have gone on at most once `most` came, each family's last hope included."""
        best = self._best_of(most) + len(self._came) * (followed(most, self._reduction) + 1)
        return sum(self._went_on.values()) + min(best, sum(map(len, self._waiting.values())))

    def waiting(self, family: str) -> list[Arrival]:
        """Those of a family that wait here, in their order."""
        return self._waiting[family]

    @property
    def came(self) -> Mapping[str, int]:
        """How many, by family."""
        return self._came

    def _best_of(self, came: int) -> int:
        return max(came // self._reduction, int(came >= self._fewest))

    def _place(self, arrival: Arrival) -> int:
        return bisect_left(self._arrivals, arrival)


class Asha:
    """The rungs of a sweep; `apply` takes the events in, in their order, and what it wants of trials is read from it.

    The rungs are at grace, grace * reduction, ... below the budget, in its unit.  A trial that comes to one, or shortly
    before it, waits there with its best score so far until it is among the best 1 / reduction that came; meanwhile its
    workers take another one, so nobody waits for anybody.  Before the last rung the better one of the first two goes on
    at once.  As one family may begin slowly and end well, the best of each go on, too: one of the first three that
    came, another of the first nine, and so on.  With `by_family` families are not compared with each other at all.  In
    the end the best of each family that has none at its end goes there.
    Source: Li et al. 2020, algorithm 2, which knows no families and does not hurry with the first two.
    """

    def __init__(self, budget: float, grace: float, reduction: int, *, by_family: bool = False) -> None:
        self._budget, self._reduction, self._by_family = budget, reduction, by_family
        self._amounts: list[float] = []
        while (amount := grace * reduction ** len(self._amounts)) < budget * (1 - ROUNDING):
            self._amounts.append(amount)
        self._rungs: dict[tuple[float, str], Rung] = {}
        """By amount, and the family whose trials are compared there, "" for all of them."""
        self._at: dict[str, tuple[float, Arrival]] = {}
        """The trials that wait: at which amount, and as what."""
        self._reached: dict[str, float] = defaultdict(float)
        """The highest amount at which a trial was compared."""
        self._ended: dict[str, None] = {}
        """Those that waited in vain, in the order of that, until they have ended."""
        self._scored: dict[float, deque[Scored]] = defaultdict(lambda: deque(maxlen=REMEMBERED_SCORINGS))
        """By the amounts of rungs, infinity for the end."""
        self._scorings: dict[str, int] = defaultdict(int)
        """How often a trial had been scored when it was compared last."""
        self._passes_by = False
        """Whether any trial came to a rung without a score at the one below."""
        self._led: set[str] = set()
        """Families that have a trial at its end."""
        self._state = SweepState()
        self._offered: list[str] | None = None
        self._ending: list[str] = []
        """Those offered that are to go to their end."""
        self._budget_left: BudgetLeft | None = None

    def apply(self, event: events.Event, state: SweepState) -> None:
        """Take in the next event, with the state that follows from it."""
        self._state = state
        self._offered = self._budget_left = None
        match event:
            case events.Progressed() | events.Entered() | events.Saved() | events.Paced():
                return
            case events.Evaluated() if state.metric in event.evaluation.scores:
                trial = state.trials.get(event.trial)
                if trial is not None and trial.repeat_of is None:
                    self._compare(trial)
            case events.Resumed() if event.trial in self._at:
                self._leave(event.trial, on=True)
            case events.Ended() if event.trial in state.trials:
                if event.trial in self._at and event.status != "stopped":
                    self._leave(event.trial, on=False)
                    self._ended.pop(event.trial, None)
                if event.status == "finished":
                    self._led.add(state.trials[event.trial].family)
        self._end_hopeless()

    def wants(self, name: str) -> Literal["go on", "pause", "stop"]:
        """What is to become of a trial that has not ended."""
        if name in self._ended:
            return "stop"
        return "pause" if name in self._at else "go on"

    def stopping(self) -> list[str]:
        """Those that waited in vain."""
        return list(self._ended)

    def offered(self) -> list[str]:
        """The trials that may run now, those that came farthest first; NEW stands for one that is to be drawn.

        The search's budget pays for each of them until its next rung.  Behind NEW come those that go to their end if no
        other one is drawn, as where the budget does not pay for it.
        """
        if self._offered is None:
            able = [each.trial for _, rung in self._from_the_last for each in rung.going_on()]
            # Workers may still have one that was just told to wait.
            found = self._paid([trial for trial in able if self._state.trials[trial].status == "paused"])
            new, self._ending = [NEW] if self._draws else [], self._to_the_end()
            self._offered = list(dict.fromkeys([*found, *new, *self._ending]))
        return list(self._offered)

    def going_on(self) -> dict[str, float]:
        """All of those that are to go to their end; further rungs are paid for as others come to them."""
        if self._offered is None:
            self.offered()
        return dict.fromkeys(self._ending, 1.0)

    @property
    def first_step(self) -> Step:
        """Until the first rung."""
        return self._step(0.0, 0.0)

    def clones(self) -> Mapping[str, Clone]:
        """None: every trial goes on from its own checkpoints."""
        return {}

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _draws(self) -> bool:
        return len(self._state.searched) < self._state.wanted

    def _busy(self, but: TrialState | None = None) -> set[str]:
        """Families of which a trial may still come to a rung by itself."""
        return {each.family for each in self._state.spending.training if each is not but}

    @property
    def _from_the_last(self) -> list[tuple[float, Rung]]:
        return sorted(((amount, rung) for (amount, _), rung in self._rungs.items()), key=lambda each: -each[0])

    def _compare(self, trial: TrialState) -> None:
        """Let a trial wait at the highest rung below its newest score, if it is new there and may not go on at once."""
        spent, value, reached = self._spent(trial), trial.rungs[-1][1], self._reached[trial.trial]
        passed = [each for each in self._amounts if each > reached and each * (1 - RUNG_TOLERANCE) <= spent]
        if spent >= self._budget * (1 - ROUNDING):
            passed.append(math.inf)
        if not passed:
            return
        self._note_scored(trial, passed, spent / self._budget)
        amount = passed[-1]
        if amount == math.inf:
            return
        self._passes_by |= len(passed) > 1
        self._reached[trial.trial] = amount
        if trial.trial in self._at:  # it was lost on its way into the pause, and went on
            self._leave(trial.trial, on=True)
        arrival = Arrival(value if self._state.mode == "min" else -value, trial.number, trial.trial)
        self._at[trial.trial] = amount, arrival
        rung = self._rung(amount, trial.family)
        rung.arrive(arrival, trial.family)
        goes_on = arrival in rung.going_on() and bool(self._paid([trial.trial], but=trial))
        if goes_on or (not self._draws and trial.trial in self._to_the_end(but=trial)):
            self._leave(trial.trial, on=True)

    def _leave(self, name: str, *, on: bool) -> None:
        family, (amount, arrival) = self._state.trials[name].family, self._at.pop(name)
        self._rung(amount, family).leave(arrival, family, on=on)

    def _rung(self, amount: float, family: str) -> Rung:
        fewest = self._reduction if amount == self._amounts[-1] else FEWEST
        return self._rungs.setdefault((amount, family if self._by_family else ""), Rung(self._reduction, fewest))

    def _note_scored(self, trial: TrialState, rungs: Sequence[float], share: float) -> None:
        """Note after which share, and how many further scores, a trial has come to some rungs."""
        count = len(trial.evaluations)
        more, self._scorings[trial.trial] = count - self._scorings[trial.trial], count
        for rung in rungs:
            self._scored[rung].append(Scored(share, more))

    def _step(self, amount: float, spent: float) -> Step:
        """From the rung at `amount` until a trial that has spent so much is scored at the next one, as others were."""
        rung = next((each for each in self._amounts if each > amount), math.inf)
        known = self._scored.get(rung, ())
        end = min(1.0, max([rung / self._budget, *(each.share for each in known)]))
        return Step(max(0.0, end - spent / self._budget), max((each.scorings for each in known), default=1))

    def _left(self, but: TrialState | None) -> BudgetLeft:
        """What is left of the search's budget once all that train have ended, `but` for one."""
        self._budget_left = left = self._budget_left or budget_left(self._state)
        return left if but is None else left.without(-left.rest_of(but))

    def _paid(self, names: Sequence[str], but: TrialState | None = None) -> list[str]:
        """Those of some trials whose way to the next rung the search's budget pays for, or that go to their end."""
        left, state = self._left(but), self._state
        if not names or left.amount == math.inf:
            return list(names)
        ends = self._to_the_end(but)
        beside = left.without(sum(left.rest_of(state.trials[each]) for each in ends))
        steps = {each: self._step(self._at[each][0], self._spent(state.trials[each])) for each in names}
        return [each for each, step in steps.items() if each in ends or beside.pays(left.cost(step))]

    def _spent(self, trial: TrialState) -> float:
        """When it was scored last, in the unit of the budget."""
        return self._state.spent(trial, trial.rungs[-1][0])

    def _to_the_end(self, but: TrialState | None = None) -> list[str]:
        """Of each family without a whole training the best trial at the last rung that it came to, the best one first.

        None of a family whose trials are busy, `but` for one that has just come to a rung; and beside a first one only
        those that the search's budget pays for.
        """
        left, led, found = self._left(but), self._led | self._busy(but), list[str]()
        rungs = ((-amount, rung, family) for (amount, _), rung in self._rungs.items() for family in rung.came)
        first = ((amount, rung.waiting(family)[0], family) for amount, rung, family in rungs if rung.waiting(family))
        for _, arrival, family in sorted(first):
            if family in led:
                continue
            rest = left.rest_of(self._state.trials[arrival.trial])
            if left.pays(rest) or not led:
                found.append(arrival.trial)
                left = left.without(rest)
            led.add(family)
        return found

    def _end_hopeless(self) -> None:
        """End those that will not be among the best, however many come, so that they do not all end at once."""
        if not (self._draws or self._busy() or self.offered()):
            self._ended |= {trial.trial: None for trial in self._state.paused if trial.repeat_of is None}
            return
        most = self._state.wanted
        for amount in self._amounts:
            rungs = [rung for (at, _), rung in self._rungs.items() if at == amount]
            self._ended |= {arrival.trial: None for rung in rungs for arrival in rung.hopeless(most, self._led)}
            if not self._passes_by:  # of those that are still to come each one may be the best
                came = sum(sum(rung.came.values()) for rung in rungs)
                most = min(most, most - came + sum(rung.most_going_on(most) for rung in rungs))


def followed(came: int, reduction: int) -> int:
    """Of so many trials of a family this many go on, if not among the best of all: the logarithm, rounded down."""
    count = 0
    while came >= reduction:
        came, count = came // reduction, count + 1
    return count
