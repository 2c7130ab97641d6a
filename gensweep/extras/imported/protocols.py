"""Evaluation protocols: what images are compared with, and by which metrics, so that they can be ranked with runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from gensweep.build.parts import build_evaluator, load_images
from gensweep.config import TrialConfig
from gensweep.config.tree import override_all
from gensweep.config.trial_config import common_sections
from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.metrics.metric import METRICS
from gensweep.report.wording import format_identity
from gensweep.results import Identity
from gensweep.sweep.stored_sweeps import find_trial, import_plugins, load_sweeps
from gensweep.sweep.trial_state import TrialState
from gensweep.training.evaluation import Evaluator

#: What to type where no run says how images are evaluated.
SPELT_OUT = "--set data.kind=KIND, or --against FOLDER with real pictures"


@dataclass(frozen=True)
class EvaluationProtocol:
    """How images are evaluated: the sections `data` and `evaluation` of `config`, and the main metric.

    `weights` fills that part of the scores' identity: that of the runs with which they are to be ranked, since only
    gensweep's own models have averaged and raw weights to choose from.
    """

    config: TrialConfig
    metric: str
    weights: str

    @classmethod
    def of(
        cls, tree: Mapping[str, Any], changes: Mapping[str, Any], *, metric: str | None = None, weights: str = "ema"
    ) -> EvaluationProtocol:
        """The protocol of a trial's values, with some changed; without a metric the first one is the main one.

        Raises ConfigError with all problems.
        """
        config = common_sections(override_all({"data": tree["data"], "evaluation": tree["evaluation"]}, changes))
        return cls(config, metric or config.flat()["evaluation.metrics"][0], weights)

    def sections(self) -> dict[str, Any]:
        """The sections as plain values, complete with every default."""
        whole = self.config.as_dict()
        return {"data": whole["data"], "evaluation": whole["evaluation"]}

    def evaluator(self, device: torch.device) -> Evaluator:
        """The evaluator, with metrics of samples alone.  Raises ConfigError."""
        sections = self.sections()
        names = [name for name in sections["evaluation"]["metrics"] if METRICS[name].needs == "samples"]
        if self.metric not in names:
            raise ConfigError(
                f"{self.metric} is not a metric of images without a model "
                f"(known: {', '.join(name for name in METRICS.kinds() if METRICS[name].needs == 'samples')}); "
                "set evaluation.metrics=[fd], or name a run that has it with --like RUN"
            )
        trial = common_sections(override_all(sections, {"evaluation.metrics": names}))
        evaluator = build_evaluator(trial, load_images(trial), device)
        identities = {name: replace(each, weights=self.weights) for name, each in evaluator.identities.items()}
        return replace(evaluator, identities=identities)


def trial_to_follow(run: str | None) -> tuple[TrialState, Identity]:
    """A run named as in `find_trial`, and the identity of its score; without a name, any if all were evaluated alike.

    Raises GensweepError if there is no such run, ConfigError, with the choices, if none or several can be followed.
    """
    if run is not None:
        trial = find_trial(run)
        import_plugins(trial)
        if (identity := _samples_identity(trial)) is None:
            raise ConfigError(
                f"--like {run}: {trial.name} has no score of samples; name another run, or give {SPELT_OUT}"
            )
        return trial, identity
    newest: dict[Identity, TrialState] = {}
    with suppress(NothingToCompareError):
        trials = [trial for sweep in load_sweeps() for trial in sweep.trials if trial.status != "failed"]
        for trial in sorted(trials, key=lambda trial: trial.imported):
            if (identity := _samples_identity(trial)) is not None:
                newest.setdefault(identity, trial)
    if not newest:
        raise ConfigError(f"no run has a score yet, so say what to compare the images with: {SPELT_OUT}")
    if len(newest) > 1:
        choices = ", or ".join(f"--like {trial.sweep} ({format_identity(each)})" for each, trial in newest.items())
        raise ConfigError(f"the runs were not all evaluated alike; choose one: {choices}")
    return next((trial, identity) for identity, trial in newest.items())


def _samples_identity(trial: TrialState) -> Identity | None:
    """The identity of its best score, unless that is a likelihood."""
    score = trial.score
    return None if score is None or score.identity.timesteps is not None else score.identity
