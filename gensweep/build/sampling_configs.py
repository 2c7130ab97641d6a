"""What can be chosen after training, without training again: sampler, steps, guidance, and which averaged weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from gensweep.build.parts import build_family
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.results import SamplingConfig
from gensweep.training.checkpoint import Checkpoint, read, tensor_names
from gensweep.training.cost import counted_calls
from gensweep.training.ema import MAIN_AVERAGE, average_name
from gensweep.training.learner_state import RAW_WEIGHTS, weights_in

__all__ = ["Axes", "left_behind", "sampling_configs", "sampling_overrides", "weights_name"]


@dataclass(frozen=True)
class Axes:
    """The values to try of each setting, in all combinations; without any, a setting stays as it was in training.

    A number of steps of None means every step that there is.  `averages` are multiples of the main half-life, or "raw".
    """

    samplers: tuple[str, ...] = ()
    steps: tuple[int | None, ...] = ()
    guidance: tuple[float, ...] = ()
    averages: tuple[str, ...] = ()


def sampling_overrides(sampling: SamplingConfig, trial: TrialConfig) -> dict[str, Any]:
    """What a sampling configuration changes in a trial's, by dotted key."""
    trained = _of_trial(trial)
    changes: dict[str, Any] = {}
    if sampling.sampler != trained.sampler:
        changes["sampler.kind"] = sampling.sampler
    if sampling.steps != (trained.steps if sampling.sampler == trained.sampler else None):
        changes["sampler.steps"] = sampling.steps
    if sampling.guidance not in (None, trained.guidance):
        changes["family.guidance"] = sampling.guidance
    return changes


def sampling_configs(folder: Path, axes: Axes, known: Iterable[SamplingConfig] = ()) -> list[SamplingConfig]:
    """Every combination of the values for the model in a checkpoint folder, each checked, in the order of the values.

    Steps change fastest.  Those that are `known` already are not looked at again.  Raises ConfigError with all problems
    if the model cannot draw images with one of them; nothing has been drawn by then.
    """
    checkpoint = read(folder)
    trial = TrialConfig.from_dict(checkpoint.metadata)
    trained = _of_trial(trial)
    _check_axes(trial, trained, axes)
    kept = weights_in(tensor_names(folder))
    averages = [weights_name(text) for text in axes.averages] or kept[:1]
    problems = [
        f"ema={text}: this checkpoint holds the weights {', '.join(kept)}; "
        "training.ema_half_life and training.ema_factors say which averages a training keeps"
        for text, name in zip(axes.averages, averages, strict=False)
        if name not in kept
    ]
    costs = {replace(each, evaluations=0, weights=""): each.evaluations for each in known}
    combinations = []
    for sampler, guidance, steps in product(
        axes.samplers or (trained.sampler,), axes.guidance or (trained.guidance,), axes.steps or (trained.steps,)
    ):
        each = SamplingConfig(sampler, steps, guidance, "")
        try:
            changed = trial.with_overrides(sampling_overrides(each, trial))
            each = replace(each, settings=_sampler_settings(changed))
            combinations.append(replace(each, evaluations=costs.get(each) or _evaluations(checkpoint, changed)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    groups = dict.fromkeys((each.sampler, each.guidance) for each in combinations)
    ordered = product(groups, dict.fromkeys(averages), dict.fromkeys(combinations))
    return [
        replace(each, weights=weights) for group, weights, each in ordered if (each.sampler, each.guidance) == group
    ]


def weights_name(text: str) -> str:
    """The weights that a person means by 1, 0.25, ema, ema@0.25 or raw.  Raises ConfigError for anything else."""
    if text in (RAW_WEIGHTS, MAIN_AVERAGE):
        return text
    try:
        factor = float(text.removeprefix(f"{MAIN_AVERAGE}@"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ConfigError(f"ema={text}: give multiples of the main half-life, such as 0.25, 1 or 4, or raw")
    return average_name(factor)


def left_behind(before: TrialConfig, after: TrialConfig) -> dict[str, Any]:
    """Settings of a trial's sampler that were chosen and that another kind of sampler begins without, by their names.

    Those that `after` has with the same value are not among them, nor are defaults.
    """
    old: dict[str, Any] = before.as_dict().get("sampler", {})
    new: dict[str, Any] = after.as_dict().get("sampler", {})
    if old.get("kind") == new.get("kind"):
        return {}
    defaults = before.with_overrides({"sampler": {"kind": old["kind"]}}).as_dict()["sampler"]
    return {name: value for name, value in old.items() if value not in (defaults[name], new.get(name))}


def _of_trial(trial: TrialConfig) -> SamplingConfig:
    """How the model draws images in its training."""
    tree = trial.as_dict()
    sampler: Mapping[str, Any] = tree.get("sampler", {})
    guidance = tree["family"].get("guidance") if tree["family"].get("conditional", True) else None
    return SamplingConfig(sampler.get("kind"), sampler.get("steps"), guidance, "")


def _check_axes(trial: TrialConfig, trained: SamplingConfig, axes: Axes) -> None:
    """Raise ConfigError for settings that such a model does not have at all."""
    family = trial.kind("family")
    problems = []
    if trained.sampler is None and axes.samplers:
        problems.append(f"sampler={axes.samplers[0]}: the family {family} draws images without a sampler; leave it out")
    if trained.sampler is None and axes.steps:
        problems.append(f"steps={axes.steps[0]}: the family {family} draws an image in one step; leave it out")
    if trained.guidance is None and axes.guidance:
        reason = "this model was trained without labels" if trained.sampler else f"the family {family} has no guidance"
        problems.append(f"guidance={axes.guidance[0]:g}: {reason}; leave it out")
    if problems:
        raise ConfigError(problems)


def _sampler_settings(trial: TrialConfig) -> tuple[tuple[str, Any], ...]:
    """The settings of a trial's sampler besides its kind and steps."""
    sampler: Mapping[str, Any] = trial.as_dict().get("sampler", {})
    return tuple((name, value) for name, value in sampler.items() if name not in ("kind", "steps"))


def _evaluations(checkpoint: Checkpoint, trial: TrialConfig) -> int:
    """Evaluations of the network for an image.  Raises ConfigError for settings that do not fit together."""
    return counted_calls(build_family(trial, checkpoint.shape, len(checkpoint.class_names))).calls
