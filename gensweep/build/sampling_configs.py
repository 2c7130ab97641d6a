"""What can be chosen after training, without training again: sampler, steps, guidance, and which averaged weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.results import SamplingConfig

__all__ = ["Axes", "check_axes", "sampling_of", "sampling_overrides"]


@dataclass(frozen=True)
class Axes:
    """The values to try of each setting, in all combinations; without any, a setting stays as it was in training.

    A number of steps of None means every step that there is.  `ema` are multiples of the main half-life, or "raw".
    """

    sampler: tuple[str, ...] = ()
    steps: tuple[int | None, ...] = ()
    guidance: tuple[float, ...] = ()
    ema: tuple[str, ...] = ()


def sampling_of(trial: TrialConfig) -> SamplingConfig:
    """How a trial's model draws images; which weights do, and what it costs, is left open."""
    tree = trial.as_dict()
    sampler: dict[str, Any] = tree.get("sampler", {})
    guidance = tree["family"].get("guidance") if tree["family"].get("conditional", True) else None
    settings = tuple((name, value) for name, value in sampler.items() if name not in ("kind", "steps"))
    return SamplingConfig(sampler.get("kind"), sampler.get("steps"), guidance, "", settings=settings)


def sampling_overrides(sampling: SamplingConfig, trial: TrialConfig) -> dict[str, Any]:
    """What a sampling configuration changes in a trial's, by dotted key."""
    trained = sampling_of(trial)
    changes: dict[str, Any] = {}
    if sampling.sampler != trained.sampler:
        changes["sampler.kind"] = sampling.sampler
    if sampling.steps != (trained.steps if sampling.sampler == trained.sampler else None):
        changes["sampler.steps"] = sampling.steps
    if sampling.guidance not in (None, trained.guidance):
        changes["family.guidance"] = sampling.guidance
    return changes


def check_axes(trial: TrialConfig, axes: Axes) -> None:
    """Raise ConfigError for settings that a trial's model does not have at all."""
    trained, family, problems = sampling_of(trial), trial.kind("family"), []
    if trained.sampler is None and axes.sampler:
        problems.append(f"sampler={axes.sampler[0]}: the family {family} draws images without a sampler; leave it out")
    if trained.sampler is None and axes.steps:
        problems.append(f"steps={axes.steps[0]}: the family {family} draws an image in one step; leave it out")
    if trained.guidance is None and axes.guidance:
        reason = "this model was trained without labels" if trained.sampler else f"the family {family} has no guidance"
        problems.append(f"guidance={axes.guidance[0]:g}: {reason}; leave it out")
    if problems:
        raise ConfigError(problems)
