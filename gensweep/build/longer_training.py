"""A training that goes on beyond its end, from a checkpoint, with the settings that it had."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.training.checkpoint import Checkpoint, read, tensor_names

#: Settings that change nothing of what is learnt until an image: what is evaluated, drawn and saved on the way.
FREE_SECTIONS = ("evaluation", "sampler")
FREE_SETTINGS = (
    "data.path",
    "training.images",
    "training.device_seconds",
    "training.log_every",
    "training.checkpoint_interval",
    "training.stall_timeout",
)


def longer_trial(folder: Path, overrides: Mapping[str, Any]) -> tuple[TrialConfig, Checkpoint]:
    """The trial of a checkpoint, until `training.images` of the overrides, and what the checkpoint says of itself.

    Raises ConfigError if that is no further than the checkpoint, if the overrides change what was learnt before it, or
    if it holds no more than weights; GensweepError if it cannot be read.
    """
    checkpoint = read(folder)
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
    if after["training.images"] <= checkpoint.images or after["training.device_seconds"] is not None:
        raise ConfigError(
            f"training.images: the checkpoint {folder} was trained with {checkpoint.images:,} images; say with how "
            f"many it is to be, for example --set training.images={2 * checkpoint.images}"
        )
    return trial, checkpoint


def _is_free(key: str) -> bool:
    return key in FREE_SETTINGS or key.partition(".")[0] in FREE_SECTIONS
