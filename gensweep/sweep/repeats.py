"""Trainings of the best configurations with other seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gensweep.config.sweep_config import Repeats
from gensweep.config.tree import override_all
from gensweep.sweep.events import Suggested
from gensweep.sweep.retrying import free_settings
from gensweep.sweep.state import SweepState


def due_repeats(
    state: SweepState, asked: Repeats, configure: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Iterator[Suggested]:
    """The trainings that were not asked for yet, of each configuration whose place among the best is certain.

    A trial of the search that has not ended, or is yet to be drawn, may still come before them.  Where and how they run
    is as the sweep would `configure` their trial now.
    """
    if len(state.searched) < state.wanted:
        return
    ended = [trial for trial in state.ranking if trial.ended]
    for best in ended[: max(0, asked.top - state.undecided)]:
        for number in range(1, asked.seeds + 1):
            if (name := f"{best.trial}-s{number}") not in state.trials:
                config = dict(override_all(best.config, free_settings(configure(best.params))))
                config["seed"] = best.config.get("seed", 0) + number
                yield Suggested(name, best.number, best.suggested, best.params, config, repeat_of=best.trial)
