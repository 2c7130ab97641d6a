"""Pictures, logs and plug-ins of a sweep beside its checkpoints, so that any machine can go on and report it whole."""

from __future__ import annotations

from pathlib import Path

from gensweep.files import path_within
from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.events import Ended, Evaluated, Event, Lost
from gensweep.sweep.folder import LOGS, PICTURES_FOLDER, PLUGINS_FOLDER, SweepFolder


def files_of(event: Event, folder: SweepFolder) -> list[Path]:
    """The files of a sweep's folder that came, or grew, with an event."""
    match event:
        case Evaluated(trial=trial, evaluation=evaluation):
            return folder.pictures(trial, evaluation.images)
        case Lost(log=str(log)) | Ended(log=str(log)):
            return [folder.path / LOGS / Path(log).name]
    return []


def store_file(file: Path, folder: SweepFolder, remote: RemoteFolder) -> None:
    """Copy a file of a sweep's folder to the storage; one that is gone is left out.  Raises OSError if that fails."""
    if file.is_file():
        remote.upload(file, file.relative_to(folder.path).as_posix())


def store_plugins(folder: SweepFolder, remote: RemoteFolder) -> None:
    """Copy the code of plug-ins, which never changes under its hash, to the storage.  Raises OSError if that fails."""
    stored = RemoteFolder(below(remote.place, PLUGINS_FOLDER)).files()
    code = folder.path / PLUGINS_FOLDER
    for file in sorted(each for each in code.rglob("*") if each.is_file()):
        if file.relative_to(code).as_posix() not in stored:
            store_file(file, folder, remote)


def fetch_files(folder: SweepFolder, remote: RemoteFolder) -> None:
    """Copy files that the storage has, or has more of, to the sweep's folder.

    Raises OSError if the storage does not answer, GensweepError if a name there leads out of the folder; then nothing
    was copied.
    """
    wanted: list[tuple[RemoteFolder, str, Path]] = []
    for kind in (PICTURES_FOLDER, LOGS, PLUGINS_FOLDER):
        stored = RemoteFolder(below(remote.place, kind))
        for name, state in stored.files().items():
            file = path_within(folder.path / kind, name, stored.place)
            if not file.is_file() or file.stat().st_size < state.size:
                wanted.append((stored, name, file))
    for stored, name, file in wanted:
        file.parent.mkdir(parents=True, exist_ok=True)
        stored.download(name, file)
