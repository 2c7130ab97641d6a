"""Asynchronous successive halving (ASHA).  Source: Li et al. 2020, "A system for massively parallel hyperparameter
tuning", algorithm 2.

A trial pauses at each rung.  It is promoted as soon as it is among the best 1/reduction of all trials that have reached
that rung.  Three additions:

- Before the last rung the better one of the first two trials is promoted, so that one trial gets far early.
- The best trials of each family are promoted, too: one of its first 3, two of its first 9 (with reduction 3), as a
  family may begin slowly and end well.
- In the end the best trial of each family that has no full training trains to its end.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from gensweep.results import order_of
from gensweep.search.schedulers import ROUNDING, RUNG_TOLERANCE, Candidates, Scheduler, Verdict
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Before the last rung the best trial is promoted once this many have reached its rung.
FEWEST = 2


class RungEntry(NamedTuple):
    """A trial at a rung, with its best score there; lower is better."""

    order: float
    number: int
    trial: TrialState
    is_paused: bool
    """False for trials that were promoted from here, or stopped here."""
    was_promoted: bool


@dataclass
class Rung:
    """The trials that reached a rung and are compared there."""

    amount: float
    reduction: int
    fewest: int
    entries: list[RungEntry] = field(default_factory=list)
    """Best first."""

    def quota(self, reached: int) -> int:
        """How many of `reached` trials are promoted."""
        return max(reached // self.reduction, int(reached >= self.fewest))

    def promotable(self) -> list[RungEntry]:
        """Paused trials among the best of all, or next in line of their family; best first."""
        best = {each.number for each in self.entries[: self.quota(len(self.entries))]}
        for own in self.by_family().values():
            if sum(each.was_promoted for each in own) < family_quota(len(own), self.reduction):
                best |= {each.number for each in [each for each in own if each.is_paused][:1]}
        return [each for each in self.entries if each.is_paused and each.number in best]

    def by_family(self) -> dict[str, list[RungEntry]]:
        """The ranked entries of each family."""
        found = defaultdict[str, list[RungEntry]](list)
        for each in self.entries:
            found[each.trial.family].append(each)
        return found


@dataclass(frozen=True)
class Asha(Scheduler):
    """Rungs at grace, grace * reduction, ... below the budget.

    Trials are divided among `brackets`; each bracket begins one rung later than the one before (HyperBand, Li et al.
    2018).  With `by_family` trials of different families are not compared.
    """

    reduction: int = 3
    by_family: bool = False
    brackets: int = 1

    def verdict_on(self, trial: TrialState, state: SweepState) -> Verdict:
        """Pause a trial that has reached a new rung."""
        is_new = len(self._reached(trial, state)) > len(self._reached(trial, state, but_last=True))
        return "pause" if is_new else "continue"

    def candidates(self, state: SweepState, deciding: TrialState | None = None) -> Candidates:
        """Promotable trials from the last rung down; finalists are of families without a full training."""
        ladder = self._ladder(state, deciding)
        covered = {each.family for each in state.searched if each.status == "finished"}
        covered |= {each.family for each in state.training if each is not deciding}
        paused = [(-rung.amount, each) for rung in ladder for each in rung.entries if each.is_paused]
        best = dict[str, TrialState]()
        for _, each in sorted(paused, key=lambda pair: (pair[0], *pair[1][:2])):
            best.setdefault(each.trial.family, each.trial)
        finalists = [trial for family, trial in best.items() if family not in covered]
        return Candidates([each.trial for rung in ladder for each in rung.promotable()], finalists)

    def unpromotable(self, state: SweepState) -> list[TrialState]:
        """Paused trials that cannot be among the best, however many trials reach their rung."""
        covered = {each.family for each in state.searched if each.status == "finished"}
        found = []
        for rung in self._ladder(state) if covered else []:
            behind = {each.number for each in rung.entries[rung.quota(state.wanted) :]}
            for family, own in rung.by_family().items():
                last = own[max(1, family_quota(state.wanted, self.reduction)) :] if family in covered else []
                found += [each.trial for each in last if each.is_paused and each.number in behind]
        return found

    def next_stop(self, trial: TrialState | None, state: SweepState) -> float:
        """Share of the training at its next rung, or where other trials were first scored behind it."""
        reached = 0.0 if trial is None else max((rung for rung, _ in self._reached(trial, state)), default=0.0)
        rung = next((each for each in self._rungs(trial) if each > reached), self.budget)
        least = rung * (1 - RUNG_TOLERANCE)
        scored_at = ([state.spent(each, images) for images, _ in each.rungs] for each in state.searched)
        firsts = [next((spent for spent in spents if spent >= least), 0.0) for spents in scored_at]
        return min(1.0, max(rung, *firsts, 0.0) / self.budget)

    @cached_property
    def _all_rungs(self) -> list[float]:
        rungs = list[float]()
        while (amount := self.grace * self.reduction ** len(rungs)) < self.budget * (1 - ROUNDING):
            rungs.append(amount)
        return rungs

    def _rungs(self, trial: TrialState | None) -> list[float]:
        """The rungs of a trial's bracket.

        Trials take turns in the brackets; each bracket is `reduction` times smaller than the one before.
        """
        count = min(self.brackets, len(self._all_rungs) + 1)
        sizes = [self.reduction ** (count - 1 - each) for each in range(count)]
        place = 0 if trial is None else trial.number % sum(sizes)
        return self._all_rungs[next(each for each in range(count) if place < sum(sizes[: each + 1])) :]

    def _ladder(self, state: SweepState, deciding: TrialState | None = None) -> list[Rung]:
        """All rungs with their trials, the last rung first."""
        rungs = dict[tuple[float, str, int], Rung]()
        for trial in state.searched:
            amounts, reached = self._rungs(trial), self._reached(trial, state)
            for rung, best in reached:
                stays = rung == reached[-1][0] and (trial.status in ("paused", "pruned") or trial is deciding)
                entry = RungEntry(best, trial.number, trial, stays and trial.status != "pruned", not stays)
                fewest = self.reduction if rung == amounts[-1] else FEWEST
                key = (rung, trial.family if self.by_family else "", len(amounts))
                rungs.setdefault(key, Rung(rung, self.reduction, fewest)).entries.append(entry)
        for each in rungs.values():
            each.entries.sort()
        return sorted(rungs.values(), key=lambda rung: -rung.amount)

    def _reached(self, trial: TrialState, state: SweepState, *, but_last: bool = False) -> list[tuple[float, float]]:
        """Each rung at which a trial was scored, with its best score; a rung that it passed unscored is left out."""
        found, rungs = list[tuple[float, float]](), self._rungs(trial)
        for images, best in trial.rungs[:-1] if but_last else trial.rungs:
            spent = state.spent(trial, images)
            rung = max((each for each in rungs if each * (1 - RUNG_TOLERANCE) <= spent), default=0.0)
            if rung > (found[-1][0] if found else 0.0) and spent < self.budget * (1 - ROUNDING):
                found.append((rung, order_of(best, state.mode)))
        return found


def family_quota(reached: int, reduction: int) -> int:
    """How many of a family's trials are promoted at least: the logarithm of their number, rounded down."""
    return 0 if reached < reduction else 1 + family_quota(reached // reduction, reduction)
