"""Trials that run again: failed ones from their last checkpoint, and the best ones with other seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gensweep.config import SweepConfig, checked_sweep
from gensweep.config.sweep_config import Repeats
from gensweep.config.tree import flatten, override_all
from gensweep.errors import ConfigError
from gensweep.sweep.continuation import continue_command
from gensweep.sweep.events import Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Settings of a trial that change no number by which it is searched or ranked.
FREE_SETTINGS = (
    "data.path",
    "training.accumulation",
    "training.log_every",
    "training.checkpoint_interval",
    "evaluation.batch_size",
)
#: The same, of a sweep.
FREE_SECTIONS = ("resources", "keep_best", "rescore", "final")


@dataclass(frozen=True)
class Retry:
    """Failed trials to run again, by default all, with changed settings by dotted key.

    The trials that have not ended continue with the changed settings, too.
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
            problems = [f"no trial of {name} failed; to go on with it: {continue_command('resume', folder.path)}"]
        if problems:
            raise ConfigError(problems)

    def configs(
        self, state: SweepState, configure: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """The new configurations of the trials to run, by name.

        A trial without a valid configuration runs again only if it is named.  Raises ConfigError if it still has none.
        """
        chosen: list[TrialState] = [trial for trial in state.failed if not self.trials or trial.trial in self.trials]
        found = {}
        for trial in [*chosen, *(state.unfinished if self.changes else ())]:
            try:
                if not trial.config and trial.suggested and not trial.params:  # it ended while it was sampled
                    raise ConfigError(f"{trial.trial} cannot be tried again: {trial.error}")
                config = trial.config or configure(trial.params)
            except ConfigError:
                if self.trials:
                    raise
                continue
            found[trial.trial] = dict(override_all(config, self.changes))
        return found


def with_changes(sweep: SweepConfig, changes: Mapping[str, Any]) -> tuple[SweepConfig, dict[str, Any]]:
    """A sweep with settings changed by dotted key, and the changes that are settings of a trial.

    Raises ConfigError, with all problems, for settings that were searched or that change the meaning of a score.
    """
    searched = {node.key for node in sweep.nodes()}
    free = ", ".join([*(f"{name}.*" if name == "resources" else name for name in FREE_SECTIONS), *FREE_SETTINGS])
    problems = []
    for key in changes:
        if key in searched:
            problems.append(f"--set {key}: is a search parameter; --retry cannot change it")
        elif key not in FREE_SETTINGS and key.partition(".")[0] not in FREE_SECTIONS:
            problems.append(f"--set {key}: would make the scores of trials incomparable; --retry takes {free}")
    if problems:
        raise ConfigError(problems)
    of_trials = {key: value for key, value in changes.items() if key in FREE_SETTINGS}
    values = sweep.as_dict()
    values = override_all(values, {key: value for key, value in changes.items() if key not in of_trials})
    values["base"] = override_all(values["base"], of_trials)
    return checked_sweep(values), of_trials


def due_repeats(
    state: SweepState, asked: Repeats, configure: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Iterator[Suggested]:
    """The missing repeats of each configuration that is certainly among the best.

    Trials that have not ended may still rank before it.  `FREE_SETTINGS` are as the sweep would `configure` them now.
    Clones are skipped: their settings changed during training, so no training from scratch repeats them.
    """
    if len(state.searched) < state.wanted:
        return
    ended = [trial for trial in state.ranking if trial.ended and not trial.lineage]
    for best in ended[: max(0, asked.top - state.undecided)]:
        for number in range(1, asked.seeds + 1):
            if (name := f"{best.trial}-s{number}") not in state.trials:
                now = {key: value for key, value in flatten(configure(best.params)) if key in FREE_SETTINGS}
                config = dict(override_all(best.config, now))
                config["seed"] = best.config.get("seed", 0) + number
                yield Suggested(name, best.number, best.suggested, best.params, config, repeat_of=best.trial)
