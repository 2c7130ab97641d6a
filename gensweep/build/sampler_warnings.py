"""Warnings of sampler settings that go wrong with any network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import get_args

from torch import nn

from gensweep.config import TrialConfig
from gensweep.diffusion.samplers.sampler import Levels, Sampler, Spacing
from gensweep.diffusion.widening import widening
from gensweep.errors import ConfigError
from gensweep.families.family import Denoising

__all__ = ["sampler_warnings"]

#: Samplers are warned of if the variance of their images is more than this times that of the data: they look noisy.
MAX_VARIANCE_RATIO = 1.5
#: Sections of a trial that do not change the levels that a sampler visits.
SECTIONS_WITHOUT_LEVELS = ("seed", "data", "finetune", "network", "optimizer", "training", "evaluation")


def sampler_warnings(trials: Iterable[TrialConfig]) -> list[str]:
    """A line for each sampler of the trials that makes images far too wide, with settings that do not."""
    distinct = {}
    for trial in trials:
        values = {name: value for name, value in trial.as_dict().items() if name not in SECTIONS_WITHOUT_LEVELS}
        distinct[json.dumps(values)] = trial
    return list(dict.fromkeys(line for trial in distinct.values() for line in _warnings(trial)))


def _warnings(trial: TrialConfig) -> Iterator[str]:
    if "sampler" not in type(trial).model_fields:
        return
    # The levels are the process's alone, and a network would take time to build.
    family = trial.bound("family")(1, 8, 2, network=lambda *_: nn.Identity())
    if not isinstance(family, Denoising):
        return
    ratio = widening(family.process, family.sampler)
    if ratio > MAX_VARIANCE_RATIO:
        settings = trial.as_dict()["sampler"]
        yield (
            f"sampler: {_words(settings)} makes the variance of Gaussian images {ratio:.3g} times as large as that of "
            f"the data, even with a perfect network; {_better(family.process, family.sampler, settings)}"
        )


def _better(levels: Levels, sampler: Sampler, settings: dict[str, object]) -> str:
    """The fewest steps and the spacing that would do."""
    steps = settings.get("steps")
    while isinstance(steps, int):
        tried = []
        for spacing in get_args(Spacing) if "spacing" in settings else [None]:
            change = {"steps": steps} | ({"spacing": spacing} if spacing else {})
            try:
                tried.append((widening(levels, partial(sampler, **change)), change))
            except ConfigError:  # the process has no more steps
                return "take sampler.kind ddim"
        ratio, change = min(tried, key=lambda each: abs(each[0] - 1))
        if ratio <= MAX_VARIANCE_RATIO:
            fix = ", ".join(f"sampler.{name} {value}" for name, value in change.items() if settings[name] != value)
            return f"with {fix} it would be {ratio:.3g} times"
        steps += 1
    return "take sampler.kind ddim"


def _words(settings: dict[str, object]) -> str:
    steps, spacing = settings.get("steps"), settings.get("spacing")
    return f"{settings['kind']} with {steps or 'all'} steps" + (f" and spacing {spacing}" if spacing else "")
