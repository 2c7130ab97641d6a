"""Asynchronous successive halving (ASHA).  Source: Li et al. 2020, "A system for massively parallel hyperparameter
tuning", algorithm 2.

A trial pauses at each rung.  It is promoted as soon as it is among the best 1/reduction of all trials that have reached
that rung.  Three additions:

- Before the last rung the better one of the first two trials is promoted, so that one trial advances early.
- The best trials of each family are promoted, too, because a family may start slowly and end well: one of its first 3,
two of its first 9 (with reduction 3).
- In the end the best trial of each family that has no full training trains to its end.

Trials that break limits come last.  With several objectives, trials are ordered by Pareto fronts (see `fronts`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from gensweep.config.search_methods import AshaSettings
from gensweep.fronts import front_positions
from gensweep.results import order_of
from gensweep.search.schedulers import ROUNDING, RUNG_TOLERANCE, Scheduler, Startable, Verdict
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Before the last rung the best trial is promoted once this many have reached its rung.
FEWEST = 2


class RungEntry(NamedTuple):
    """A trial at a rung."""

    order: tuple[float, float, int]
    """By how much it breaks limits, its best score there, or its position by all objectives, and its number."""
    trial: TrialState
    rung: float
    images: int
    is_paused: bool
    """False for trials that were promoted from here, or stopped here."""
    was_promoted: bool


@dataclass(frozen=True)
class Asha(Scheduler):
    """Rungs at grace, grace * reduction, ... below the budget."""

    settings: AshaSettings

    def rule(self, trial: TrialState, state: SweepState) -> Verdict:
        """Pause a trial that has reached a new rung."""
        reached = self._reached(trial, state)
        return "pause" if reached and reached[-1][2] == trial.rungs[-1][0] else "continue"

    def candidates(self, state: SweepState, deciding: TrialState | None = None) -> Startable:
        """Promotable trials from the last rung down; finalists belong to families without a full training."""
        ladder, best = self._ladder(state, deciding), dict[str, TrialState]()
        covered = _trained_families(state) | {each.family for each in state.training if each is not deciding}
        for _, _, each in sorted(
            (-each.rung, each.order, each) for entries in ladder for each in entries if each.is_paused
        ):
            best.setdefault(each.trial.family, each.trial)
        finalists = [trial for family, trial in best.items() if family not in covered]
        return Startable([trial for entries in ladder for trial in self._promotable(entries)], finalists)

    def unpromotable(self, state: SweepState) -> list[TrialState]:
        """Paused trials that can no longer be promoted."""
        found, covered = list[TrialState](), _trained_families(state)
        for entries in self._ladder(state) if covered else []:
            behind = {*entries[self._quota(entries, state.wanted) :]}
            for family, own in _by_family(entries).items():
                last = own[max(1, self._family_quota(state.wanted)) :] if family in covered else []
                found += [each.trial for each in last if each.is_paused and each in behind]
        return found

    def next_stop(self, trial: TrialState | None, state: SweepState) -> float:
        """Share of the training at its next rung, or at the next score of other trials after that rung."""
        reached = 0.0 if trial is None else max((rung for rung, *_ in self._reached(trial, state)), default=0.0)
        rung = next((each for each in self._rungs if each > reached), self.budget)
        least = rung * (1 - RUNG_TOLERANCE)
        scored_at = ([state.spent(each, images) for images, _ in each.rungs] for each in state.searched)
        firsts = [next((spent for spent in spents if spent >= least), 0.0) for spents in scored_at]
        return min(1.0, max(rung, *firsts, 0.0) / self.budget)

    @cached_property
    def _rungs(self) -> list[float]:
        rungs = list[float]()
        while (amount := self.grace * self.settings.reduction ** len(rungs)) < self.budget * (1 - ROUNDING):
            rungs.append(amount)
        return rungs

    def _ladder(self, state: SweepState, deciding: TrialState | None = None) -> list[list[RungEntry]]:
        """Trials to compare at each rung, best first; the last rung first."""
        rungs = defaultdict[float, list[RungEntry]](list)
        for trial in state.searched:
            reached, excess = self._reached(trial, state), sum(max(0.0, each) for each in trial.excesses.values())
            for rung, best, images in reached:
                stays = rung == reached[-1][0] and (trial.status in ("paused", "pruned") or trial is deciding)
                waits, order = stays and trial.status != "pruned", (excess, best, trial.number)
                rungs[rung].append(RungEntry(order, trial, rung, images, waits, not stays))
        ladder = [rungs[rung] for rung in sorted(rungs, reverse=True)]
        return [_by_objectives(entries) if len(state.objectives) > 1 else sorted(entries) for entries in ladder]

    def _promotable(self, entries: list[RungEntry]) -> list[TrialState]:
        """Paused trials among the best of all, or next in line of their family; best first."""
        best = {*entries[: self._quota(entries, len(entries))]}
        for own in _by_family(entries).values():
            if sum(each.was_promoted for each in own) < self._family_quota(len(own)):
                best |= {*[each for each in own if each.is_paused][:1]}
        return [each.trial for each in entries if each.is_paused and each in best]

    def _quota(self, entries: list[RungEntry], reached: int) -> int:
        """How many trials are promoted from a rung that `reached` trials reach."""
        reduction, is_last = self.settings.reduction, entries[0].rung == self._rungs[-1]
        return max(reached // reduction, int(reached >= (reduction if is_last else FEWEST)))

    def _family_quota(self, reached: int) -> int:
        """Fewest promotions of a family: the logarithm of its number of trials, rounded down."""
        fewer = reached // self.settings.reduction
        return 1 + self._family_quota(fewer) if fewer else 0

    def _reached(self, trial: TrialState, state: SweepState) -> list[tuple[float, float, int]]:
        """Each rung at which a trial was scored, with its best score and its images there."""
        found = list[tuple[float, float, int]]()
        for images, best in trial.rungs:
            spent = state.spent(trial, images)
            rung = max((each for each in self._rungs if each * (1 - RUNG_TOLERANCE) <= spent), default=0.0)
            if rung > (found[-1][0] if found else 0.0) and spent < self.budget * (1 - ROUNDING):
                found.append((rung, order_of(best, state.mode), images))
        return found


def _trained_families(state: SweepState) -> set[str]:
    """The families with a full training."""
    return {each.family for each in state.searched if each.status == "finished"}


def _by_objectives(entries: list[RungEntry]) -> list[RungEntry]:
    """The entries of a rung, best first by several objectives."""
    positions = front_positions([each.trial.orders_at(each.images) for each in entries])
    changed = [(each.order[0], position, each.order[2]) for each, position in zip(entries, positions, strict=True)]
    return sorted(each._replace(order=order) for each, order in zip(entries, changed, strict=True))


def _by_family(entries: list[RungEntry]) -> dict[str, list[RungEntry]]:
    found = defaultdict[str, list[RungEntry]](list)
    for each in entries:
        found[each.trial.family].append(each)
    return found
