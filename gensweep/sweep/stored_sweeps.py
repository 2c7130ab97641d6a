"""Find sweeps and trials by name, and read them from the logs of their folders."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from gensweep import plugins
from gensweep.config import SweepConfig, checked_sweep
from gensweep.config.problems import listed
from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.files import cache_folder
from gensweep.redaction import redact_tree
from gensweep.remote_folder import is_url, split_place
from gensweep.results import Evaluation, better
from gensweep.sweep.checkpoints import fetch
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.events import SessionEnded
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder, SweepInUseError
from gensweep.sweep.plugin_copies import install_kept_plugins
from gensweep.sweep.state import SweepState
from gensweep.sweep.storage import read_copy
from gensweep.sweep.trial_state import TrialState

_log = logging.getLogger(__name__)

#: Prefix of a registered model's URI: models:/NAME/VERSION or models:/NAME@ALIAS.
MODEL_URI = "models:/"
#: Seconds for which a command retries to fetch a checkpoint.
FETCH_PATIENCE = 30.0
#: The name of a trial or of a repeat.
_TRIAL = re.compile(r"t\d+(-s\d+)?")


@dataclass(frozen=True)
class StoredSweep:
    """A sweep in its folder, and the state after its log."""

    folder: SweepFolder
    state: SweepState

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def started(self) -> datetime:
        """Its start time."""
        return datetime.fromtimestamp(self.state.started / 1000, UTC)

    @property
    def command(self) -> str:
        """The command that started it, or ""."""
        return self.state.sessions[0].tags.get("gensweep.command", "") if self.state.sessions else ""

    @cached_property
    def trials(self) -> tuple[TrialState, ...]:
        """Its trials, sorted by name."""
        return tuple(sorted(self.state.trials.values(), key=lambda trial: trial.trial))

    @property
    def best(self) -> TrialState:
        """The trial with the best score.  Raises NothingToCompareError if no trial has one."""
        if (best := self.state.best) is None:
            raise NothingToCompareError(
                f"no trial of {self.name} has a score yet ({len(self.trials)} trials); run: gensweep trials {self.name}"
            )
        return best


def load_sweeps(names: Sequence[str] = (), root: Path = SWEEPS) -> list[StoredSweep]:
    """The sweeps of these names, or all sweeps below `root`, newest first.

    A name may also be a path or a URL of a sweep.  Raises NothingToCompareError if there are no sweeps,
    ConfigError for an unknown name.
    """
    folders = _folders(root)
    if names:
        found = {folder.path: read_sweep(folder) for folder in (_named(name, root) for name in names)}
        if len({sweep.name for sweep in found.values()}) < len(found):
            raise ConfigError(f"two sweeps have the same name ({', '.join(names)}); rename the folder of one")
        return list(found.values())
    sweeps = []
    for folder in folders:
        try:
            sweeps.append(read_sweep(folder))
        except GensweepError as error:
            _log.warning("%s was skipped: %s", folder.name, error)
    return sorted(sweeps, key=lambda sweep: sweep.started, reverse=True) or _none_in(root)


def find_sweep(name: str | None = None, root: Path = SWEEPS) -> StoredSweep:
    """The sweep of that name, path or URL; by default the newest one.

    Raises ConfigError for an unknown name, NothingToCompareError if there are no sweeps.
    """
    if name is not None:
        return read_sweep(_named(name, root))
    started = {folder: first.time for folder in _folders(root) if (first := next(folder.log.read(), None))}
    return read_sweep(max(started, key=started.__getitem__)) if started else _none_in(root)[0]


def read_sweep(folder: SweepFolder) -> StoredSweep:
    """The sweep of a folder.  A sweep whose driver was lost counts as interrupted."""
    state = folder.state()
    if state.status == "running":
        try:
            with folder.locked():
                state = SweepState.of(folder.log.read(), folder)
                state.apply(SessionEnded("interrupted", "its driver was lost"), state.changed_at)
        except (SweepInUseError, OSError):  # it is running, or the folder is read-only
            pass
    return StoredSweep(folder, state)


def find_trial(run: str, root: Path = SWEEPS) -> TrialState:
    """The trial named by SWEEP (its best score) or SWEEP/TRIAL; SWEEP may be a path or a URL.

    Raises ConfigError if there is none, NothingToCompareError if the sweep has no score.
    """
    place, trial = split_place(run) if "/" in run else ("", run)
    if not _TRIAL.fullmatch(trial) or not place:
        return read_sweep(_named(run, root)).best
    sweep = read_sweep(_named(place, root, run))
    if trial not in sweep.state.trials:
        trials = listed((each.trial for each in sweep.trials), most=12)
        raise ConfigError(
            f"{run!r} is not a run: {sweep.name} has the trials {trials}; see: gensweep trials {sweep.name}"
        )
    return sweep.state.trials[trial]


def named_trial(text: str, root: Path = SWEEPS) -> TrialState | None:
    """The trial of a name, as in `find_trial`; None for a folder or a registered model.

    An ambiguous name means the trial, ./NAME the folder.
    """
    path = Path(text)
    is_folder = path.is_dir() and not (path / SETTINGS_FILE).is_file()
    if text.startswith(MODEL_URI) or (is_folder and (text.startswith((".", "/", "~")) or text.endswith("/"))):
        return None
    try:
        return find_trial(text, root)
    except GensweepError:
        if is_folder:
            return None
        raise


def command_of(trial: TrialState) -> str:
    """The command that started the sweep of a trial, or ""."""
    return "" if trial.folder is None else read_sweep(trial.folder).command


def trained_trial(run: str | TrialState, root: Path = SWEEPS) -> TrialState:
    """The trial of a name, see `find_trial`, that was trained here.  Raises GensweepError if it was only scored."""
    trial = run if isinstance(run, TrialState) else find_trial(run, root)
    if trial.imported:
        path = trial.config["family"].get("path", "path unknown")
        raise GensweepError(
            f"{trial.name} was only scored here ({path}): it has no checkpoint; name a run of tune or train"
        )
    return trial


def trial_checkpoint(trial: TrialState) -> Path:
    """The local folder of a trial's best checkpoint, fetched if needed; imports its plug-ins.

    Raises ConfigError if a plug-in is missing, GensweepError if there is no checkpoint.
    """
    import_plugins(trained_trial(trial))
    if trial.score is None:
        raise GensweepError(
            f"{trial.name} ({trial.status}) has no score yet, so it has no best checkpoint; "
            f"run: gensweep trials {trial.sweep}"
        )
    if trial.checkpoint is None:
        raise GensweepError(
            f"the best checkpoint of {trial.name} is missing; use another trial of {trial.sweep}, or train again: "
            f"gensweep train --from-run {trial.name}"
        )
    if not is_url(trial.checkpoint):
        return Path(trial.checkpoint)
    assert trial.folder is not None
    assert trial.best is not None
    try:
        return fetch(trial.checkpoint, trial.folder.fetched(str(trial.best.checkpoint)), patience=FETCH_PATIENCE)
    except OSError as error:
        raise GensweepError(f"the checkpoint of {trial.name} cannot be fetched: {error}") from error


def import_plugins(trial: TrialState) -> None:
    """Import a trial's plug-ins, or their copies in the sweep's folder.  Raises ConfigError for a missing plug-in."""
    names = trial.config.get("plugins", [])
    if not all(map(plugins.is_here, names)) and trial.folder is not None:
        install_kept_plugins(trial.folder)
    for name in names:
        plugins.load(name)


def trial_config(trial: TrialState) -> dict[str, Any]:
    """The JSON configuration of a trial's best checkpoint, without secrets; a time limit becomes a number of images."""
    tree: dict[str, Any] = json.loads(json.dumps(redact_tree(trial.config), default=str))
    if trial.length is not None and tree.get("training", {}).get("device_seconds") is not None:
        tree["training"] |= {"images": trial.length, "device_seconds": None}
    return tree


def sweep_config(sweep: StoredSweep) -> Mapping[str, Any]:
    """The configuration at the start of a sweep."""
    settings: Mapping[str, Any] = sweep.folder.settings["sweep"]
    return settings


def stored_config(folder: SweepFolder) -> SweepConfig:
    """The configuration in sweep.json.  Raises ConfigError that names the file and the version that wrote it."""
    try:
        return checked_sweep(folder.settings["sweep"])
    except ConfigError as error:
        tags = next((each.tags for each in folder.state().sessions), {})
        writer = json.loads(tags.get("gensweep.versions", "{}")).get("gensweep", "(unknown version)")
        place = f"{folder.path / SETTINGS_FILE} by gensweep {writer}"
        raise ConfigError([f"{place}: {problem}" for problem in error.problems]) from error


def evaluations_until(trial: TrialState, images: int, metric: str) -> list[Evaluation]:
    """The evaluation after `images` training images and the earlier ones that are no better; None without one."""
    found = {number: each.evaluation for number, each in trial.evaluations.items()}
    if images not in found or metric not in found[images].scores:
        return []
    last = found[images].scores[metric]
    before = (each for number, each in sorted(found.items()) if number < images and metric in each.scores)
    return [*(each for each in before if not better(each.scores[metric], last)), found[images]]


def _folders(root: Path) -> list[SweepFolder]:
    """The folders of all started sweeps."""
    return [
        SweepFolder(root, file.parent.name)
        for file in sorted(root.glob("*/events.jsonl"))
        if (file.parent / SETTINGS_FILE).is_file()
    ]


def _none_in(root: Path) -> list[StoredSweep]:
    raise NothingToCompareError(
        f"no sweep in {root.absolute()}; change to the folder of your sweeps, give it with --sweeps, or start one: "
        "gensweep tune quickstart"
    )


def _named(name: str, root: Path, asked: str | None = None) -> SweepFolder:
    """The folder of a sweep.  Raises ConfigError for an unknown name, NothingToCompareError if there are none."""
    name = name.rstrip("/")
    if is_url(name) or ("/" in name and (Path(name) / SETTINGS_FILE).is_file()):
        return read_copy(name, cache_folder() / "sweeps")
    known = {folder.name: folder for folder in _folders(root)}
    if name in known:
        return known[name]
    if not known:
        _none_in(root)
    close = difflib.get_close_matches(split_place(name)[1] if "/" in name else name, list(known), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"{asked or name!r} is not a sweep or run{hint} (known sweeps: {listed(known, most=10)})")
