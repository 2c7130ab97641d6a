"""What figures say of a trial, where they lead, and by which colour it is known on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from gensweep.families.spelling import family_name
from gensweep.report.plots import Note
from gensweep.report.wording import count, duration, score, setting_words

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial

#: Trials of which figures show anything, the best ones: the page stays below 5 MB, and more could not be told apart.
MAX_DRAWN_TRIALS = 300

Runs: TypeAlias = Callable[[str], str | None]
"""The page of a run, by its id, if it has one."""


def trial_note(comparison: Comparison, entry: RankedTrial, runs: Runs) -> Note:
    """What is said of a trial under the pointer."""
    trial, cost = entry.trial, entry.trial.cost
    took = [f"{count(cost.images)} images"] if cost.images else []
    took += [f"{duration(cost.train_seconds)} of training"] if cost.train_seconds else []
    ending = "" if trial.status == "finished" else f", {trial.status}"
    lines = [
        f"{comparison.name_of(trial)} ({family_name(trial.family)}{ending})",
        f"{comparison.title} {score(entry.score.value)}",
        ", ".join(took),
    ]
    return Note(tuple(filter(None, [*lines, setting_words(trial.params, entry.differs)])), runs(trial.run_id))


def series_numbers(comparison: Comparison) -> dict[str, int]:
    """The number of the group of each ranked trial, by run id, which decides on its colour and symbol."""
    groups = enumerate(comparison.groups.values())
    return {entry.trial.run_id: index for index, group in groups for entry in group}
