"""When a search gives up, and what it says then: trial after trial breaks a limit, or fails."""

from __future__ import annotations

from gensweep.sweep.state import SweepState

#: Trials in a row that failed, or were not trained as they break a limit, after which no other one is drawn until one
#: of those that train has ended well or paused.
MAX_FRUITLESS_IN_A_ROW = 100


def is_fruitless(state: SweepState) -> bool:
    """Whether so many trials in a row failed or broke a limit that no more are to be drawn."""
    return state.fruitless_in_a_row >= MAX_FRUITLESS_IN_A_ROW or _breaks_limits(state)


def fruitless_words(state: SweepState) -> str:
    """What is said of a search that draws no more."""
    last = max(reversed(state.searched), key=lambda trial: trial.ended_at or 0)
    if _breaks_limits(state):
        count, what = state.infeasible_in_a_row, "break a limit"
        then = "start a sweep with other constraints, or with a space that meets them"
    else:
        count, what = state.fruitless_in_a_row, "failed or break a limit" if state.constraints else "failed"
        then = "mend that, or start a sweep with a space that leaves it out"
    return f"{count} trials in a row {what} (the last one, {last.trial}: {last.error}); {then}"


def outside_words(state: SweepState) -> str:
    """What is said of a sweep whose trials fail for causes outside of them."""
    last = max(state.failed, key=lambda trial: trial.ended_at or 0)
    return (
        f"{state.failed_in_a_row} trials in a row failed for a cause outside of them (the last one, {last.trial}: "
        f"{last.error}); mend it first"
    )


def _breaks_limits(state: SweepState) -> bool:
    return state.infeasible_in_a_row >= min(MAX_FRUITLESS_IN_A_ROW, state.wanted)
