"""Trainings of the best configurations with other seeds."""

from __future__ import annotations

from collections.abc import Iterator

from gensweep.config.sweep_config import Repeats
from gensweep.sweep.events import Suggested
from gensweep.sweep.state import SweepState


def due_repeats(state: SweepState, asked: Repeats) -> Iterator[Suggested]:
    """The trainings that were not asked for yet, of each configuration whose place among the best is certain.

    A trial of the search that has not ended, or is yet to be drawn, may still come before them.
    """
    if len(state.searched) < state.wanted:
        return
    ended = [trial for trial in state.ranking if trial.ended]
    for best in ended[: max(0, asked.top - state.undecided)]:
        for number in range(1, asked.seeds + 1):
            name, config = f"{best.trial}-s{number}", {**best.config, "seed": best.config.get("seed", 0) + number}
            if name not in state.trials:
                yield Suggested(name, best.number, best.suggested, best.params, config, repeat_of=best.trial)
