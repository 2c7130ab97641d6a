"""What the scores of a trial will be scores of, told from its configuration alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gensweep.config import registries
from gensweep.config.trial_config import TrialConfig

if TYPE_CHECKING:
    from gensweep.results import Identity
    from gensweep.training.settings import EvaluationSettings, TrainingSettings

__all__ = ["identities_of"]


def identities_of(trial: TrialConfig, metric: str) -> tuple[Identity, Identity]:
    """The identity of a trial's last score and of those before; trials can be ranked if theirs are equal.

    Settings stand for what only their use would tell: the extractor's id and the fingerprint of the images.
    """
    evaluation: EvaluationSettings = trial.bound("evaluation")()
    training: TrainingSettings = trial.bound("training")()
    values = trial.as_dict()
    last = evaluation.identity(
        metric,
        training,
        extractor=json.dumps(values["evaluation"]["extractor"]),
        reference=json.dumps(_reference(values["data"], metric, evaluation)),
        held_out=evaluation.likelihood.images,
    )
    return last, evaluation.before_the_end(last)


def _reference(data: dict[str, Any], metric: str, evaluation: EvaluationSettings) -> Any:
    """The settings that decide which real images, or which statistics of some, a metric compares with."""
    kind = registries.metrics()[metric]
    if kind.needs == "likelihood":
        return evaluation.likelihood.split, data
    against = "train" if getattr(kind, "of_training", False) else evaluation.against
    if against == "whole":
        return against, {key: value for key, value in data.items() if key != "limit"}
    if against.endswith(".npz"):
        return against
    if against.endswith("/"):
        # A folder's pictures are made as large as those of the data set.
        return against, {key: data.get(key) for key in (("size", "channels") if data.get("size") else ("kind", "path"))}
    return against, data
