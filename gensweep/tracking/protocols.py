"""By what images are judged so that they can be ranked with runs: taken from one of these."""

from __future__ import annotations

import json

from gensweep.build.imported import EvaluationProtocol
from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.metrics.identity import MetricIdentity
from gensweep.tracking.runs import Score, Trial, find_trial, load_sweeps, trial_config

__all__ = ["only_protocol", "protocol_of"]

SPELT_OUT = "--set data.kind=KIND, or --against FOLDER with real pictures"


def protocol_of(run: str) -> tuple[Trial, EvaluationProtocol]:
    """What a run, named as in `find_trial`, was judged by.

    Raises GensweepError if there is no such run, ConfigError if it has no score of samples.
    """
    trial = find_trial(run)
    if trial.objective is None or _of_likelihood(trial.objective):
        raise ConfigError(f"--like {run}: {trial.name} has no score of samples; name another run, or give {SPELT_OUT}")
    tree, identity = trial_config(trial.run_id), trial.objective.identity
    return trial, EvaluationProtocol(
        tree["data"], tree["evaluation"], trial.objective.metric, str(identity.get("weights", "ema"))
    )


def only_protocol() -> tuple[Trial, EvaluationProtocol]:
    """What all runs of the store were judged by, if it is the same for all.

    Raises ConfigError, with the choices, if it is not, or if there is no score yet.
    """
    newest: dict[str, Trial] = {}
    try:
        trials = [trial for sweep in load_sweeps() for trial in sweep.trials]
    except NothingToCompareError:
        trials = []
    for trial in sorted(trials, key=lambda trial: trial.imported):
        if trial.objective is not None and trial.countable and not _of_likelihood(trial.objective):
            score = trial.objective
            newest.setdefault(json.dumps([score.metric, dict(score.identity)], sort_keys=True), trial)
    if len(newest) == 1:
        return protocol_of(next(iter(newest.values())).run_id)
    if not newest:
        raise ConfigError(f"no run has a score yet, so say what to compare the images with: {SPELT_OUT}")
    choices = ", or ".join(f"--like {trial.sweep} ({_short(trial.objective)})" for trial in newest.values())
    raise ConfigError(f"the runs were not all judged alike; say which to go by: {choices}")


def _of_likelihood(score: Score) -> bool:
    return "timesteps" in score.identity


def _short(score: Score | None) -> str:
    return "" if score is None else MetricIdentity.from_dict(score.identity).short()
