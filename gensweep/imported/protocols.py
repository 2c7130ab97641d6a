"""Evaluation protocols: what images are compared with, and by which metrics, so that they can be ranked with runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from gensweep.build.parts import build_evaluator, load_images
from gensweep.config.trial_config import common_sections
from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.metrics.metric import METRICS
from gensweep.results import Identity, Score
from gensweep.tracking.runs import find_trial, load_sweeps, trial_config
from gensweep.tracking.sweeps import Trial
from gensweep.training.evaluation import Evaluator

__all__ = ["EvaluationProtocol", "only_protocol", "protocol_of"]

#: What to type where no run says how images are evaluated.
SPELT_OUT = "--set data.kind=KIND, or --against FOLDER with real pictures"


@dataclass(frozen=True)
class EvaluationProtocol:
    """How images are evaluated: the sections `data` and `evaluation` of a trial, and the main metric.

    `weights` fills that part of the scores' identity: that of the runs with which they are to be ranked, since only
    gensweep's own models have averaged and raw weights to choose from.
    """

    data: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    metric: str = "fd"
    weights: str = "ema"

    def tree(self) -> dict[str, Any]:
        """The sections as plain values, complete with every default.  Raises ConfigError with all problems."""
        whole = common_sections({"data": self.data, "evaluation": self.evaluation}).as_dict()
        return {name: whole[name] for name in ("data", "evaluation")}

    def evaluator(self, device: torch.device) -> tuple[Evaluator, tuple[str, ...]]:
        """The evaluator, with metrics of samples alone, and notes on the real images.  Raises ConfigError."""
        trial = common_sections({"data": self.data, "evaluation": self.evaluation})
        names = [name for name in trial.as_dict()["evaluation"]["metrics"] if METRICS[name].needs == "samples"]
        if self.metric not in names:
            raise ConfigError(
                f"{self.metric} is not a metric of images without a model "
                f"(known: {', '.join(name for name in METRICS.kinds() if METRICS[name].needs == 'samples')}); "
                "set evaluation.metrics=[fd], or name a run that has it with --like RUN"
            )
        trial = common_sections({"data": self.data, "evaluation": {**self.evaluation, "metrics": names}})
        images = load_images(trial)
        evaluator = build_evaluator(trial, images, device)
        identities = {name: replace(each, weights=self.weights) for name, each in evaluator.identities.items()}
        return replace(evaluator, identities=identities), images.notes


def protocol_of(run: str) -> tuple[Trial, EvaluationProtocol]:
    """The protocol of a run, named as in `find_trial`.

    Raises GensweepError if there is no such run, ConfigError if it has no score of samples.
    """
    trial = find_trial(run)
    if trial.objective is None or _of_likelihood(trial.objective):
        raise ConfigError(f"--like {run}: {trial.name} has no score of samples; name another run, or give {SPELT_OUT}")
    tree, identity = trial_config(trial.run_id), trial.objective.identity
    return trial, EvaluationProtocol(tree["data"], tree["evaluation"], identity.metric, identity.weights)


def only_protocol() -> tuple[Trial, EvaluationProtocol]:
    """The protocol of all runs of the store, if it is the same for all.

    Raises ConfigError, with the choices, if it is not, or if there is no score yet.
    """
    newest: dict[Identity, Trial] = {}
    try:
        trials = [trial for sweep in load_sweeps() for trial in sweep.trials]
    except NothingToCompareError:
        trials = []
    for trial in sorted(trials, key=lambda trial: trial.imported):
        score = trial.objective
        if score is not None and trial.status != "failed" and not _of_likelihood(score):
            newest.setdefault(score.identity, trial)
    if len(newest) == 1:
        return protocol_of(next(iter(newest.values())).run_id)
    if not newest:
        raise ConfigError(f"no run has a score yet, so say what to compare the images with: {SPELT_OUT}")
    choices = ", or ".join(f"--like {trial.sweep} ({_short(trial.objective)})" for trial in newest.values())
    raise ConfigError(f"the runs were not all evaluated alike; choose one: {choices}")


def _of_likelihood(score: Score) -> bool:
    return score.identity.timesteps is not None


def _short(score: Score | None) -> str:
    return "" if score is None else score.identity.short()
