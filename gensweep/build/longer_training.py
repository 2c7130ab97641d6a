"""A training that goes on beyond its end, from a checkpoint, with the settings that it had."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gensweep.build.parts import load_images
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.training.checkpoint import Checkpoint, tensor_names, verify

#: Settings that change nothing of what is learnt until an image: what is evaluated, drawn and saved on the way.
FREE_SECTIONS = ("evaluation", "sampler")
FREE_SETTINGS = (
    "data.path",
    "finetune.base",
    "training.images",
    "training.device_seconds",
    "training.log_every",
    "training.checkpoint_interval",
    "training.stall_timeout",
)


def longer_trial(folder: Path, overrides: Mapping[str, Any]) -> tuple[TrialConfig, Checkpoint]:
    """The trial of a checkpoint, until `training.images` of the overrides, and what the checkpoint says of itself.

    Raises ConfigError if that is no further than the checkpoint, if the overrides or the images change what was learnt
    before it, or if it holds no more than weights; GensweepError if it is damaged.
    """
    checkpoint = verify(folder)
    if not any(name.startswith("optimizers/") for name in tensor_names(folder)):
        raise ConfigError(f"{folder} has weights and no state of an optimizer, so no training can go on from it")
    trained = TrialConfig.from_dict(checkpoint.metadata)
    # A training that was bounded in time has an end that its pace set.
    trial = trained.with_overrides({"training.device_seconds": None, **overrides})
    before, after = trained.flat(), trial.flat()
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key) and not _is_free(key)]
    if changed:
        raise ConfigError(
            f"{changed[0]}: a training goes on with the settings that it had, and this was {before.get(changed[0])!r}; "
            "to train with another one from the beginning: gensweep train --from-run"
        )
    further = after["training.images"] > checkpoint.images and after["training.device_seconds"] is None
    if "training.images" not in overrides or not further:
        raise ConfigError(
            f"training.images: the checkpoint {folder} was trained with {checkpoint.images:,} images; say with how "
            f"many it is to be, for example --set training.images={2 * checkpoint.images}"
        )
    images = load_images(trial)
    if (images.class_names, images.class_counts) != (checkpoint.class_names, checkpoint.class_counts):
        raise ConfigError(
            f"data: there are {len(images):,} images of {len(images.class_names)} classes now, and the checkpoint was "
            f"trained with {sum(checkpoint.class_counts):,} of {len(checkpoint.class_names)}; a training goes on with "
            "the same images: name them with --set data.path=FOLDER"
        )
    return trial, checkpoint


def are_scored_alike(trained: TrialConfig, longer: TrialConfig) -> bool:
    """Whether scores of both are of one kind, whenever they are taken."""
    one, other = ({**each.flat(), "evaluation.at": None, "evaluation.every": None} for each in (trained, longer))
    return all(one.get(key) == other.get(key) for key in {*one, *other} if key.partition(".")[0] in FREE_SECTIONS)


def _is_free(key: str) -> bool:
    return key in FREE_SETTINGS or key.partition(".")[0] in FREE_SECTIONS
