"""A database that was moved or copied with the folder of its project: the places on record in it follow.

MLflow writes absolute paths of artifacts into it.  A copy that kept them would write into the original.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from gensweep.errors import GensweepError

#: The tag of our experiment that says in which folder its database lies.
DATABASE_FOLDER = "gensweep.database_folder"
#: Where MLflow keeps places, as URIs or as paths, by table.
URIS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
#: Where we do, as paths.
PATHS = {"experiment_tags": ("value",), "tags": ("value",)}
#: Seconds to wait for another process that has the database.
LOCK_SECONDS = 20.0


def former_folder(database: Path, tags: Mapping[str, str], artifact_location: str) -> Path | None:
    """The folder in which a database lay before it was moved or copied; None if it lies where it did.

    `tags` and `artifact_location` are those of our experiment.  Versions that left no tag put the artifacts beside it.
    """
    folder = database.absolute().parent
    if (noted := tags.get(DATABASE_FOLDER)) is not None:
        return None if Path(noted).resolve() == folder.resolve() else Path(noted)
    location = local_path(artifact_location)
    if location is None or location.parent.name != "mlruns" or not (folder / "mlruns" / location.name).is_dir():
        return None
    before = location.parents[1]
    return None if before.resolve() == folder.resolve() else before


def local_path(uri: str) -> Path | None:
    """The path of an artifact location of MLflow, a path or a URI, on this machine; None if it lies elsewhere."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if parts.scheme else Path(uri)


def follow(database: Path, former: Path, experiment: str) -> None:
    """Let every place in a database that lay below its former folder lie below its own.

    `experiment` is the id of ours, of which that folder is known; another process may have been faster.
    Raises GensweepError if the database cannot be written.
    """
    folder = database.absolute().parent
    # Where MLflow would take a path for a URI with '#', '?' or '%', a URI it is.
    place = str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()
    # The path last: what is a URI then may begin with the former one, below which the folder may lie.
    uris = [(former.as_uri(), folder.as_uri()), (str(former), place)]
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(database))}?mode=rw", uri=True, timeout=LOCK_SECONDS)) as opened,
            opened,
        ):
            opened.execute("BEGIN IMMEDIATE")
            if _noted_folder(opened, database, experiment) != former:
                return
            for table, columns in {**URIS, **PATHS}.items():
                for old, new in uris if table in URIS else [(str(former), str(folder))]:
                    for column in columns:
                        opened.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                            (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                        )
    except (OSError, sqlite3.Error) as error:
        raise GensweepError(
            f"{database} came here from {former}, and the places in it cannot be brought up to date ({error}); let it "
            "be written, or name its store with MLFLOW_TRACKING_URI"
        ) from error


def _noted_folder(opened: sqlite3.Connection, database: Path, experiment: str) -> Path | None:
    """The former folder that a database tells of now."""
    (location,) = opened.execute(
        "SELECT artifact_location FROM experiments WHERE experiment_id = ?", (experiment,)
    ).fetchone()
    tags = opened.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", (experiment,))
    return former_folder(database, dict(tags), location)
