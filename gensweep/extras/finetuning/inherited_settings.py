"""Settings that fine-tuning trials inherit from a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gensweep.build.parts import build_family, load_images
from gensweep.config import SweepConfig, TrialConfig, checked_sweep
from gensweep.config.tree import flatten, override_all
from gensweep.data.image_folder import ONE_CLASS
from gensweep.data.images import Images
from gensweep.errors import ConfigError
from gensweep.extras.finetuning.section import Base, read_base
from gensweep.files import cache_folder
from gensweep.tracking.checkpoints import checkpoint_folder

#: Default number of epochs, within the following bounds.
REPEATS_PER_IMAGE = 100
#: Smallest default number of training images.
MIN_BUDGET = 2_000
#: Largest default number of training images, which limits the time of a fine-tuning.
MAX_BUDGET = 50_000
#: Adam's learning rate for low-rank updates: higher than for whole weights, as the base cannot be lost.
LOW_RANK_LEARNING_RATE = 1e-3


def trial_for_few_images(
    folder: Path,
    update: Mapping[str, Any],
    *,
    folder_of_images: Path | None = None,
    class_name: str | None = None,
    changes: Mapping[str, Any] = MappingProxyType({}),
    workers: int = 1,
) -> TrialConfig:
    """A trial that fine-tunes a checkpoint on the images in a folder, or on a class of the base's data set.

    Settings are the base's, except `changes` (by dotted key) and settings that suit few images.  Raises ConfigError if
    the images do not exist.
    """
    base = read_base(folder)
    channels, size, _ = base.shape
    limit = changes.get("data.limit")
    taken: dict[str, Any] = {"data.classes": [class_name], "data.limit": limit}
    if folder_of_images is not None:
        path = str(folder_of_images.resolve())
        data = {"kind": "image_folder", "path": path, "size": size, "channels": channels, "limit": limit}
        # All of a few images are used for training, so a likelihood can only be theirs.
        taken = {"data": data | {"test_fraction": 0.0}, "evaluation.likelihood.split": "train"}
    trial = base.trial.with_overrides(taken | {"start": base.section() | {"update": dict(update)}})
    images: Images = trial.bound("data")("train", cache_folder())
    if folder_of_images is not None and images.class_names == (ONE_CLASS,):
        trial = trial.with_overrides({"start.name": folder_of_images.resolve().name})
    budget = changes.get("training.images")
    if not isinstance(budget, int) or budget < 1:  # reported later, with all other problems
        budget = min(max(REPEATS_PER_IMAGE * len(images), MIN_BUDGET), MAX_BUDGET)
    return trial.with_overrides({**_for_few_images(trial, len(images), budget, workers), **changes})


def _for_few_images(trial: TrialConfig, count: int, budget: int, workers: int) -> dict[str, Any]:
    """Training settings for `budget` images, `count` of them different."""
    flat = trial.flat()
    batch = max(workers, min(flat["training.batch_size"], count, budget) // workers * workers)
    suited = {
        "training.images": budget,
        "training.device_seconds": None,
        "training.batch_size": batch,
        "training.accumulation": 1,
        "training.ema_half_life": max(1, budget // 10),
        "training.log_every": None,
        "evaluation.every": -(-budget // 4),
        "evaluation.at": None,
        "evaluation.against": "whole",
    }
    if "optimizer.warmup" in flat:
        suited["optimizer.warmup"] = budget // 20
        suited["optimizer.decay"] = None
        if flat["start.update.kind"] == "lora":
            suited["optimizer.learning_rate"] = LOW_RANK_LEARNING_RATE
    return suited


def with_base(sweep: SweepConfig) -> SweepConfig:
    """The sweep with all settings that its trials inherit from their base.

    Settings that the sweep does not give are the base's; the base is recorded by folder, hash and classes.  Raises
    ConfigError if a trial of the space does not fit the base or its images, and GensweepError if the run does not
    exist.
    """
    if any(key.startswith("start.base") for key, _ in flatten(sweep.space)):
        raise ConfigError("start.base: cannot be searched, as trials inherit its settings; run a sweep for each base")
    section, run = sweep.base["start"], sweep.base["start"]["base"]
    base = read_base(checkpoint_folder(run).resolve())
    expected = section.get("sha256", base.sha256)
    if expected not in (None, base.sha256):
        raise ConfigError(
            f"start.sha256: {run} has the weights {base.sha256[:12]}, not {expected[:12]}; name the right base"
        )
    inherited = _inherited(base, sweep.base)
    if sweep.budget is not None:  # it sets the length of trainings, not the base's settings
        for part, key in (("training", "images"), ("training", "device_seconds"), ("evaluation", "every")):
            if key not in sweep.base.get(part, {}):
                inherited[part].pop(key, None)
    whole = sweep.model_copy(update={"base": inherited}).as_dict()
    whole["base"]["start"] = {**section, **base.section()}
    found = checked_sweep(whole)
    _check(found, base)
    return found


def _inherited(base: Base, written: Mapping[str, Any]) -> dict[str, Any]:
    """The base's settings, overridden by the given ones."""
    inherited = base.trial.as_dict()
    inherited.pop("start", None)
    channels, size, _ = base.shape
    shape = {"data.size": size, "data.channels": channels}
    changes = dict(flatten(written))
    if changes.keys() & {"evaluation.every", "evaluation.at"}:  # alternatives
        changes = {"evaluation.every": None, "evaluation.at": None} | changes
    own, other = inherited["family"]["kind"], changes.get("family.kind")
    if other not in (None, own):
        raise ConfigError(f"family.kind: the base is a {own}, so it cannot continue as {other}; set {own}")
    kind = changes.get("data.kind", inherited["data"]["kind"])
    if kind != "image_folder":
        del shape["data.channels"]
    return override_all(inherited, {"data.kind": kind} | shape | changes)


def _check(sweep: SweepConfig, base: Base) -> None:
    """Build the network of each extreme trial for its images."""
    known: dict[str, Images] = {}
    for trial in sweep.corners:
        data = trial.data.model_dump_json()
        images = known[data] = known.get(data) or load_images(trial)
        if images.shape != base.shape:
            (channels, size, _), (base_channels, base_size, _) = images.shape, base.shape
            raise ConfigError(
                f"data: {images.name} has images of {channels} channels and {size} px, but the base draws "
                f"{base_channels} channels and {base_size} px; set data.size"
            )
        build_family(trial, images.shape, images.classes, base.weights)
