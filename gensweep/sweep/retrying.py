"""Failed trials that are run again from their last checkpoint: which ones, and what may be set anew for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gensweep.config import SweepConfig, checked_sweep
from gensweep.config.tree import flatten, override_all
from gensweep.errors import ConfigError
from gensweep.sweep.continuation import going_on_command
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Settings of a trial that say where and how it runs, and change no number that it is searched or ranked by.
FREE_SETTINGS = (
    "data.path",
    "training.accumulation",
    "training.log_every",
    "training.checkpoint_interval",
    "training.stall_timeout",
    "evaluation.batch_size",
)
#: The same, of a sweep.
FREE_SECTIONS = ("resources", "keep_best", "rescore", "final")


@dataclass(frozen=True)
class Retry:
    """A wish to run failed trials again: these, or all of them, with some of a trial's settings changed, by dotted key.

    The trials that have not ended go on with the changed settings, too.
    """

    trials: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)

    def check(self, folder: SweepFolder) -> None:
        """Raises ConfigError, with all problems, for trials that did not fail, or if none did."""
        state, name = folder.state(), folder.name
        failed = [trial.trial for trial in state.failed]
        known = ", ".join(failed) or "none"
        problems = [
            f"{trial} is {state.trials[trial].status}, so it cannot be tried again (failed: {known})"
            if trial in state.trials
            else f"{trial} is no trial of {name} (failed: {known})"
            for trial in self.trials
            if trial not in failed
        ]
        if not failed and not problems:
            problems = [f"no trial of {name} failed; to go on with it: {going_on_command('resume', folder.path)}"]
        if problems:
            raise ConfigError(problems)

    def configs(
        self, state: SweepState, configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """The configurations of the trials that go on otherwise than they ended, by name.

        One that never had a valid configuration is tried again only if it is named.  Raises ConfigError if it still has
        none.
        """
        chosen: list[TrialState] = [trial for trial in state.failed if not self.trials or trial.trial in self.trials]
        found = {}
        for trial in [*chosen, *(state.unfinished if self.changes else ())]:
            try:
                config = trial.config or configure(_params(trial))
            except ConfigError:
                if self.trials:
                    raise
                continue
            found[trial.trial] = dict(override_all(config, self.changes))
        return found


def _params(trial: TrialState) -> Mapping[str, Any]:
    """Raises ConfigError if the trial ended before all of its parameters were drawn."""
    if trial.suggested and not trial.params:
        raise ConfigError(f"{trial.trial} cannot be tried again: {trial.error}")
    return trial.params


def free_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a trial, by dotted key, that may be changed."""
    return {key: value for key, value in flatten(config) if key in FREE_SETTINGS}


def with_changes(sweep: SweepConfig, changes: Mapping[str, Any]) -> tuple[SweepConfig, dict[str, Any]]:
    """A sweep with settings changed by dotted key, and those of them that are settings of a trial.

    Raises ConfigError, with all problems, for settings that were searched or that change what a score means.
    """
    searched = {node.key for node in sweep.nodes()}
    free = ", ".join([*(f"{name}.*" if name == "resources" else name for name in FREE_SECTIONS), *FREE_SETTINGS])
    problems = []
    for key in changes:
        if key in searched:
            problems.append(f"--set {key}: was searched, so it stays as each trial has it")
        elif key not in FREE_SETTINGS and key.partition(".")[0] not in FREE_SECTIONS:
            problems.append(f"--set {key}: would change what the trials are compared by; --retry takes {free}")
    if problems:
        raise ConfigError(problems)
    of_trials = {key: value for key, value in changes.items() if key in FREE_SETTINGS}
    values = sweep.as_dict()
    values = override_all(values, {key: value for key, value in changes.items() if key not in of_trials}, trial=False)
    values["base"] = override_all(values["base"], of_trials)
    return checked_sweep(values), of_trials
