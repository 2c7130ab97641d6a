"""What a whole search has spent, and whether its budget pays for another trial."""

from __future__ import annotations

from gensweep.results import Unit
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState


def spent_by(trial: TrialState, unit: Unit) -> float:
    """What a trial has spent on training and on scoring, as far as it has reported."""
    return trial.numbers.get(unit, 0.0) + trial.numbers.get(f"scoring_{unit}", 0.0)


def spent_by_search(state: SweepState) -> float:
    """What all trials of the search have spent, in the unit of its budget."""
    return sum(spent_by(trial, state.search_unit) for trial in state.searched)


def pays_for_another(state: SweepState) -> bool:
    """Whether what is left of the search's budget, after all that runs has come to its end, pays for one more trial.

    A trial is taken to be as dear as the dearest so far would be at its end.  The first ones start without knowing.
    """
    budget = None if state.created is None else state.created.search_budget
    if budget is None or state.exhausted:
        return True
    unit = state.search_unit
    expected = max((_whole(trial, unit) for trial in state.searched), default=0.0)
    to_come = sum(max(0.0, expected - spent_by(trial, unit)) for trial in state.searched if not trial.ended)
    return spent_by_search(state) + to_come + expected <= budget


def _whole(trial: TrialState, unit: Unit) -> float:
    """What a trial spends until its end, going by what it has spent so far."""
    if not trial.images or not trial.length:
        return 0.0
    return spent_by(trial, unit) * max(1.0, trial.length / trial.images)
