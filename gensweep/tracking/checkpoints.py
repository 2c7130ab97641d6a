"""Find checkpoints by name: a run, a folder, or a registered model."""

from __future__ import annotations

import sys
from pathlib import Path

from gensweep import plugins
from gensweep.config.trial_config import written_plugins
from gensweep.errors import ConfigError
from gensweep.files import parse_json
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.stored_sweeps import MODEL_URI, named_trial, trial_checkpoint
from gensweep.sweep.trial_state import TrialState
from gensweep.tracking.logged_models import fetch_model


def checkpoint_folder(run: str | Path | TrialState, root: Path = SWEEPS) -> Path:
    """The local folder of a checkpoint: the best one of a trial, a folder (also as a Path), or a registered model.

    Imports the plug-ins of a trial, but not of a folder or a model: their code may come from anywhere.
    Raises ConfigError if there is no such run or a plug-in is missing, GensweepError if there is no checkpoint.
    """
    if isinstance(run, str):
        run = named_trial(run, root) or run
    if isinstance(run, TrialState):
        return trial_checkpoint(run)
    folder = fetch_model(run) if isinstance(run, str) and run.startswith(MODEL_URI) else Path(run)
    if not (folder / "checkpoint.json").is_file():
        raise ConfigError(f"{run} is not a checkpoint: it has no checkpoint.json")
    _check_plugins(folder)
    return folder


def _check_plugins(folder: Path) -> None:
    """Raises ConfigError if the model in a folder needs a plug-in that is not imported."""
    try:
        metadata = parse_json((folder / "checkpoint.json").read_text())["metadata"]
        names = written_plugins(metadata)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # reading the checkpoint raises the error
    for name in names:
        if plugins.module_of(name) not in sys.modules:
            raise ConfigError(
                f"{folder} was trained with the plug-in {name}; importing it runs its code; if you trust it, add "
                f"--import {name}"
            )
