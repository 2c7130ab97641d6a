"""Trials that run again: failed ones from their last checkpoint, and the best ones with other seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gensweep.config import SweepConfig, checked_sweep
from gensweep.config.sweep_config import Repeats
from gensweep.config.tree import flatten, override_all
from gensweep.errors import ConfigError
from gensweep.sweep.continuation import continue_command
from gensweep.sweep.events import RepeatsAsked, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Settings of a trial that change neither its search nor its score.
FREE_SETTINGS = (
    "data.path",
    "training.accumulation",
    "training.log_every",
    "training.checkpoint_interval",
    "evaluation.batch_size",
)
#: The same for a sweep.
FREE_SECTIONS = ("resources", "keep_best", "rescore", "final")


@dataclass(frozen=True)
class Retry:
    """Failed trials to run again, by default all, with changed settings by dotted key.

    Trials that have not ended get the changed settings, too.
    """

    trials: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    def check(self, folder: SweepFolder) -> None:
        """Raises ConfigError, with all problems, for trials that cannot run again, or if none can."""
        failed, name = [trial.trial for trial in folder.state().failed if trial.config], folder.name
        if not failed:
            again = continue_command("resume", folder.path)
            raise ConfigError(f"no trial of {name} failed with a valid configuration; to resume it: {again}")
        if others := [trial for trial in self.trials if trial not in failed]:
            raise ConfigError([f"{each} did not fail in {name} (failed: {', '.join(failed)})" for each in others])

    def configs(self, state: SweepState) -> dict[str, dict[str, Any]]:
        """The configurations of the trials to run, by name."""
        failed = [trial for trial in state.failed if trial.config and trial.trial in (self.trials or state.trials)]
        again = [*failed, *(state.unfinished if self.changes else ())]
        return {trial.trial: dict(override_all(trial.config, self.changes)) for trial in again}


def with_changes(sweep: SweepConfig, changes: Mapping[str, Any]) -> tuple[SweepConfig, dict[str, Any]]:
    """A sweep with settings changed by dotted key, and the changes to settings of trials.

    Raises ConfigError, with all problems, for settings that were searched or that change the meaning of a score.
    """
    searched = {node.key for node in sweep.nodes()}
    free = ", ".join((*FREE_SECTIONS, *FREE_SETTINGS))
    problems = []
    for key in changes:
        if key in searched:
            problems.append(f"--set {key}: is a search parameter; --retry cannot change it")
        elif key not in FREE_SETTINGS and key.partition(".")[0] not in FREE_SECTIONS:
            problems.append(f"--set {key}: would make the scores of trials incomparable; --retry accepts {free}")
    if problems:
        raise ConfigError(problems)
    of_trials = {key: value for key, value in changes.items() if key in FREE_SETTINGS}
    values = sweep.as_dict()
    values = override_all(values, {key: value for key, value in changes.items() if key not in of_trials})
    values["base"] = override_all(values["base"], of_trials)
    return checked_sweep(values), of_trials


def due_repeats(
    state: SweepState, asked: Repeats | RepeatsAsked, configure: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> list[Suggested]:
    """The missing repeats of each configuration that is certainly among the best.

    Trials that have not ended may still outrank it.  The sweep would `configure` repeats with the current settings.
    """
    if len(state.searched) < state.wanted:
        return []
    due, ended = list[Suggested](), [trial for trial in state.ranking if trial.ended]
    for best in ended[: max(0, asked.top - state.undecided)]:
        for each in missing_seeds(state, best, asked.seeds):
            now = {key: value for key, value in flatten(configure(best.params)) if key in FREE_SETTINGS}
            due.append(replace(each, config=override_all(each.config, now)))
    return due


def missing_seeds(state: SweepState, first: TrialState, count: int) -> Iterator[Suggested]:
    """The missing trainings of a configuration with its next `count` seeds."""
    for number in range(1, count + 1):
        if (name := f"{first.trial}-s{number}") not in state.trials:
            config = {**first.config, "seed": first.config.get("seed", 0) + number}
            yield Suggested(name, first.number, first.suggested, first.params, config, repeat_of=first.trial)
