"""Pictures and logs of a sweep beside its checkpoints, so that the report of it is whole on any machine."""

from __future__ import annotations

from pathlib import Path

from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.events import Ended, Evaluated, Event, Lost
from gensweep.sweep.folder import LOGS, PICTURES_FOLDER, SweepFolder


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


def fetch_files(folder: SweepFolder, remote: RemoteFolder) -> None:
    """Copy what the storage has more of than the sweep's folder.  Raises OSError if the storage does not answer."""
    for name in (PICTURES_FOLDER, LOGS):
        stored = RemoteFolder(below(remote.place, name))
        for path, state in stored.files().items():
            file = folder.path / name / path
            if not file.is_file() or file.stat().st_size < state.size:
                file.parent.mkdir(parents=True, exist_ok=True)
                stored.download(path, file)
