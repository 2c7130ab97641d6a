"""Resolve the trained models whose weights the trials of a sweep start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gensweep.config import SweepConfig, checked_sweep
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import expanded
from gensweep.tracking.checkpoints import checkpoint_folder
from gensweep.training.start import UNET_CONFIG, FromWeights


def with_weights(sweep: SweepConfig, root: Path) -> SweepConfig:
    """The sweep in which each start from weights names their folder.

    Raises ConfigError if weights are missing, damaged, or changed.
    """
    whole = sweep.as_dict()
    resolved = {part: _resolved(whole[part], root) for part in ("base", "space")}
    return sweep if whole == whole | resolved else checked_sweep(whole | resolved)


def _resolved(tree: Any, root: Path) -> Any:
    if isinstance(tree, list):
        return [_resolved(each, root) for each in tree]
    if not isinstance(tree, Mapping):
        return tree
    if tree.get("kind") != "weights":
        return {key: _resolved(value, root) for key, value in tree.items()}
    if not isinstance(tree["base"], str):
        raise ConfigError(
            "start.base: list complete starts, such as start: {choice: [{kind: weights, base: RUN}, ...]}"
        )
    try:
        folder = _folder(tree["base"], root)
        FromWeights(**{**tree, "base": str(folder)}).recorded()
    except GensweepError as error:
        raise ConfigError(f"start.base: {error}") from error
    return {**tree, "base": str(folder)}


def _folder(base: str, root: Path) -> Path:
    path = expanded(base)
    for folder in (path / "unet", path):  # a pipeline, or its network
        if (folder / UNET_CONFIG).is_file():
            return folder.resolve()
    return checkpoint_folder(base, root).resolve()
