"""What a whole search has spent, and whether its budget pays for another trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gensweep.results import Unit
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from gensweep.sweep.schedulers import Scheduler

#: Once a trial has gone a third of the way, those that have not say nothing of what another will spend: compiling and
#: the first scores come once.
MOST_EXTRAPOLATED = 3.0


def spent_by(trial: TrialState, unit: Unit) -> float:
    """What a trial has spent on training and on scoring, as far as it has reported."""
    return trial.numbers.get(unit, 0.0) + trial.numbers.get(f"scoring_{unit}", 0.0)


def spent_by_search(state: SweepState) -> float:
    """What all trials of the search have spent, in the unit of its budget."""
    return sum(spent_by(trial, state.search_unit) for trial in state.searched)


def pays_for_another(state: SweepState, scheduler: Scheduler | None = None) -> bool:
    """Whether what is left of the search's budget, after all that runs has come to its end, pays for one more trial.

    A trial is taken to be as dear as the dearest so far would be at its end, failed ones aside; the scheduler says what
    paused ones will still spend.  The first trials start without knowing.
    """
    budget = None if state.created is None else state.created.search_budget
    if budget is None or state.exhausted:
        return True
    unit = state.search_unit
    expected = _dearest(state.searched, unit)
    to_come = sum(
        max(0.0, expected - spent_by(trial, unit))
        * (1.0 if scheduler is None or trial.status != "paused" else scheduler.going_on(trial.trial))
        for trial in state.searched
        if not trial.ended
    )
    return spent_by_search(state) + to_come + expected <= budget


def _dearest(trials: Sequence[TrialState], unit: Unit) -> float:
    """What the dearest of some trials spends until its end, going by what it has spent so far."""
    begun = [trial for trial in trials if trial.status != "failed" and trial.images and trial.length]
    longer = {trial.trial: max(1.0, (trial.length or 0) / trial.images) for trial in begun}
    far = [trial for trial in begun if longer[trial.trial] <= MOST_EXTRAPOLATED]
    return max((spent_by(trial, unit) * longer[trial.trial] for trial in far or begun), default=0.0)
