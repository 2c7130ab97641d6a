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
from gensweep.training.checkpoint import Checkpoint, read, tensor_names
from gensweep.training.cost import probed
from gensweep.training.ema import MAIN, average_name
from gensweep.training.state import RAW, weights_in

__all__ = ["Axes", "SamplingConfig", "left_behind", "sampling_configs", "weights_name"]


@dataclass(frozen=True)
class Axes:
    """The values to try of each setting, all with all; without any, a setting stays as it was in training.

    A number of steps of None means every step that there is.  `averages` are multiples of the main half-life, or "raw".
    """

    samplers: tuple[str, ...] = ()
    steps: tuple[int | None, ...] = ()
    guidance: tuple[float, ...] = ()
    averages: tuple[str, ...] = ()


@dataclass(frozen=True)
class SamplingConfig:
    """One way to draw images from a trained model.

    Sampler and steps are None for a family that has none, guidance for a model without labels.  `weights` is "ema",
    "ema@0.25" or "raw".  `evaluations` of the network are needed for an image.
    """

    sampler: str | None
    steps: int | None
    guidance: float | None
    weights: str
    evaluations: int = 0

    def overrides(self, trial: TrialConfig) -> dict[str, Any]:
        """What is changed in a trial's configuration, by dotted key."""
        mine = _of_trial(trial)
        changes: dict[str, Any] = {}
        if self.sampler != mine.sampler:
            changes["sampler.kind"] = self.sampler
        if self.steps != (mine.steps if self.sampler == mine.sampler else None):
            changes["sampler.steps"] = self.steps
        if self.guidance not in (None, mine.guidance):
            changes["family.guidance"] = self.guidance
        return changes


def sampling_configs(folder: Path, axes: Axes, known: Iterable[SamplingConfig] = ()) -> list[SamplingConfig]:
    """Every combination of the values for the model in a checkpoint folder, each checked, in the order of the values.

    Steps change fastest.  Those that are `known` already are not looked at again.  Raises ConfigError with all problems
    if the model cannot draw images in one of these ways; nothing has been drawn by then.
    """
    checkpoint = read(folder)
    trial = TrialConfig.from_dict(checkpoint.metadata)
    mine = _of_trial(trial)
    _refuse_strangers(trial, mine, axes)
    kept = weights_in(tensor_names(folder))
    averages = [weights_name(text) for text in axes.averages] or kept[:1]
    problems = [
        f"ema={text}: this checkpoint holds the weights {', '.join(kept)}; "
        "which averages a training keeps is said by training.ema_half_life and training.ema_factors"
        for text, name in zip(axes.averages, averages, strict=False)
        if name not in kept
    ]
    costs = {replace(each, evaluations=0, weights=""): each.evaluations for each in known}
    ways = []
    for sampler, guidance, steps in product(
        axes.samplers or (mine.sampler,), axes.guidance or (mine.guidance,), axes.steps or (mine.steps,)
    ):
        way = SamplingConfig(sampler, steps, guidance, "")
        try:
            ways.append(replace(way, evaluations=costs.get(way) or _evaluations(checkpoint, trial, way)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    ordered = product(
        dict.fromkeys((way.sampler, way.guidance) for way in ways), dict.fromkeys(averages), dict.fromkeys(ways)
    )
    return [replace(way, weights=weights) for group, weights, way in ordered if (way.sampler, way.guidance) == group]


def weights_name(text: str) -> str:
    """The weights that a person means by 1, 0.25, ema, ema@0.25 or raw.  Raises ConfigError for anything else."""
    if text in (RAW, MAIN):
        return text
    try:
        factor = float(text.removeprefix(f"{MAIN}@"))
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise ConfigError(f"ema={text}: give multiples of the main half-life, such as 0.25, 1 or 4, or raw")
    return average_name(factor)


def left_behind(before: TrialConfig, after: TrialConfig) -> dict[str, Any]:
    """Settings of a trial's sampler that were chosen and that another kind of sampler begins without, by their names.

    Those that `after` has with the same value are not among them, nor are defaults.
    """
    mine: dict[str, Any] = before.as_dict().get("sampler", {})
    theirs: dict[str, Any] = after.as_dict().get("sampler", {})
    if mine.get("kind") == theirs.get("kind"):
        return {}
    plain = before.with_overrides({"sampler": {"kind": mine["kind"]}}).as_dict()["sampler"]
    return {name: value for name, value in mine.items() if value not in (plain[name], theirs.get(name))}


def _of_trial(trial: TrialConfig) -> SamplingConfig:
    """How the model draws images in its training."""
    tree = trial.as_dict()
    sampler: Mapping[str, Any] = tree.get("sampler", {})
    guidance = tree["family"].get("guidance") if tree["family"].get("conditional", True) else None
    return SamplingConfig(sampler.get("kind"), sampler.get("steps"), guidance, "")


def _refuse_strangers(trial: TrialConfig, mine: SamplingConfig, axes: Axes) -> None:
    """Raise ConfigError for settings that such a model does not have at all."""
    family = trial.kind("family")
    problems = []
    if mine.sampler is None and axes.samplers:
        problems.append(f"sampler={axes.samplers[0]}: the family {family} draws images without a sampler; leave it out")
    if mine.sampler is None and axes.steps:
        problems.append(f"steps={axes.steps[0]}: the family {family} draws an image in one step; leave it out")
    if mine.guidance is None and axes.guidance:
        reason = "this model was trained without labels" if mine.sampler else f"the family {family} has no guidance"
        problems.append(f"guidance={axes.guidance[0]:g}: {reason}; leave it out")
    if problems:
        raise ConfigError(problems)


def _evaluations(checkpoint: Checkpoint, trial: TrialConfig, way: SamplingConfig) -> int:
    """How often the network is asked for an image; whatever does not fit together is found out on the way."""
    changed = trial.with_overrides(way.overrides(trial))
    return probed(build_family(changed, checkpoint.shape, len(checkpoint.class_names))).calls
