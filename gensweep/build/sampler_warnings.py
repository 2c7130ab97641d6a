"""Warnings of sampler settings that go wrong with any network."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any, get_args

from torch import nn

from gensweep.config import TrialConfig
from gensweep.diffusion.samplers.sampler import Levels, Sampler, Spacing
from gensweep.diffusion.widening import widening
from gensweep.errors import ConfigError
from gensweep.families.family import Denoising

#: Samplers are warned of if the variance of their images is more than this times that of the data: they look noisy.
MAX_VARIANCE_RATIO = 1.5
#: A remedy is searched for in steps of this part of the number of steps.
TRIED = 10
#: Sections of a trial that do not change the levels that a sampler visits.
SECTIONS_WITHOUT_LEVELS = ("seed", "data", "finetune", "network", "optimizer", "training", "evaluation")


def sampler_warnings(trials: Iterable[TrialConfig]) -> list[str]:
    """A line for each sampler of the trials that makes images far too wide, with settings that do not."""
    distinct = {}
    for trial in trials:
        values = {name: value for name, value in trial.as_dict().items() if name not in SECTIONS_WITHOUT_LEVELS}
        distinct[json.dumps(values)] = trial
    return list(dict.fromkeys(filter(None, map(_warning, distinct.values()))))


def _warning(trial: TrialConfig) -> str | None:
    settings = trial.as_dict().get("sampler")
    if settings is None:
        return None
    # The levels are the process's alone, and a network would take time to build.
    family = trial.bound("family")(1, 8, 2, network=lambda *_: nn.Identity())
    if not isinstance(family, Denoising):
        return None
    ratio = widening(family.process, family.sampler)
    if ratio <= MAX_VARIANCE_RATIO:
        return None
    spacing = f" and spacing {settings['spacing']}" if "spacing" in settings else ""
    return (
        f"sampler: {settings['kind']} with {settings.get('steps') or 'all'} steps{spacing} makes the variance of "
        f"Gaussian images {ratio:.3g} times as large as that of the data, even with a perfect network; "
        f"{_remedy(family.process, family.sampler, settings)}"
    )


def _remedy(levels: Levels, sampler: Sampler, settings: dict[str, Any]) -> str:
    """The fewest steps that were tried and would do, up to four times as many, with their spacing; else another way."""
    first = settings.get("steps") or 0
    spacings = [{"spacing": spacing} for spacing in get_args(Spacing)] if "spacing" in settings else [{}]
    for steps in range(first, 4 * first, max(1, first // TRIED)):
        try:
            tried = [{"steps": steps} | each for each in spacings]
            ratio, change = min(
                ((widening(levels, partial(sampler, **each)), each) for each in tried),
                key=lambda found: abs(found[0] - 1),
            )
        except ConfigError:  # the process has no more steps
            break
        if ratio <= MAX_VARIANCE_RATIO:
            fix = ", ".join(f"sampler.{name} {value}" for name, value in change.items() if settings[name] != value)
            return f"with {fix} it would be {ratio:.3g} times"
    return "lower sampler.churn_noise or sampler.churn" if settings.get("churn") else "take sampler.kind ddim"
