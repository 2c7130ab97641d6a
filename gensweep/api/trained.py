"""Trained models from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gensweep.build.model import Model, load_checkpoint
from gensweep.tracking.checkpoints import checkpoint_folder


def load(
    run: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    device: torch.device | str | None = None,
) -> Model:
    """The model of a run, ready to draw: "sweep/t0004", "sweep" (its best score), a folder, or a registered model.

    `overrides` change settings of sampling, by dotted key.  `weights` are by default those that were evaluated; "raw"
    and multiples of the half-life of their average, such as "0.25", name others.  By default on a GPU if there is one.
    Raises GensweepError if there is no such run or its checkpoint was not kept, ConfigError for settings that do not
    exist.
    """
    return load_checkpoint(checkpoint_folder(run), overrides=overrides, weights=weights, device=device)
