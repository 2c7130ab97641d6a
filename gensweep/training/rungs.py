"""Cheaper scores before the end of a training, for schedulers that stop trials early."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any, cast

from gensweep.errors import ConfigError
from gensweep.families.family import Denoising, Family
from gensweep.training.evaluation import Judge

__all__ = ["drawing_in", "early"]


def early(judge: Judge, family: Family) -> tuple[Judge, Family]:
    """What a family is judged by before its end, and the family as it draws images for that.

    Their scores are of another kind than the last ones, but those of a likelihood, which stay what they are.
    Raises ConfigError if the judge has `rung_steps` and the family no sampler.
    """
    changes: dict[str, Any] = {}
    if judge.rung_samples is not None:
        changes["samples"] = judge.rung_samples
    if judge.rung_steps is not None:
        changes["steps"] = judge.rung_steps
        family = drawing_in(judge.rung_steps, family)
    other = {name: replace(judge.identities[name], **changes) for name in judge.metrics_of("samples")}
    samples = judge.rung_samples or judge.samples
    return replace(judge, samples=samples, identities={**judge.identities, **other}), family


def drawing_in(steps: int, family: Family) -> Family:
    """The same family, with the same networks, drawing images in so many steps.

    Raises ConfigError if it has no sampler.
    """
    if not isinstance(family, Denoising):
        raise ConfigError("evaluation.rung_steps: the family draws images without a sampler; leave it out")
    changed: Any = copy.copy(family)
    changed.sampler = partial(changed.sampler, steps=steps)
    return cast(Family, changed)
