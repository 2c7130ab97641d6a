"""Cheaper scores before the end of a training, for schedulers that stop trials early."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any, cast

from gensweep.errors import ParameterError
from gensweep.families.family import Denoising, Family
from gensweep.training.evaluation import Evaluator

__all__ = ["drawing_in", "early"]


def early(evaluator: Evaluator, family: Family) -> tuple[Evaluator, Family]:
    """The evaluator of scores before the end of a training, and the family with the sampler for them.

    The identities of these scores differ from those of the last ones, except for metrics of likelihood.
    Raises ConfigError if the evaluator has `rung_steps` and the family no sampler.
    """
    changes: dict[str, Any] = {}
    if evaluator.rung_samples is not None:
        changes["samples"] = evaluator.rung_samples
    if evaluator.rung_steps is not None:
        changes["steps"] = evaluator.rung_steps
        family = drawing_in(evaluator.rung_steps, family)
    other = {name: replace(evaluator.identities[name], **changes) for name in evaluator.metrics_of("samples")}
    samples = evaluator.rung_samples or evaluator.samples
    return replace(evaluator, samples=samples, identities={**evaluator.identities, **other}), family


def drawing_in(steps: int, family: Family) -> Family:
    """The same family, with the same networks, drawing images in `steps` steps.

    Raises ConfigError if it has no sampler.
    """
    if not isinstance(family, Denoising):
        raise ParameterError("rung_steps", "the family draws images without a sampler; leave it out")
    changed: Any = copy.copy(family)
    changed.sampler = partial(changed.sampler, steps=steps)
    return cast(Family, changed)
