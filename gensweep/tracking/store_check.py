"""Whether the MLflow store can be used; if not, why and what to do, within seconds and in one line.

What MLflow would try for minutes is asked first: whether the URI makes sense, the driver is installed, the server
accepts a connection, the database can be read.
"""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

from filelock import FileLock

from gensweep.causes import UNAVAILABLE, chain, database_problem, file_problem, primary_code
from gensweep.errors import GensweepError
from gensweep.redaction import redact
from gensweep.tracking.last_answer import last_answer
from gensweep.tracking.store import cause_of, client, current_uri, database_file, experiment_id, experiment_tags

#: Seconds that a server has to accept a connection.
CONNECT_SECONDS = 3.0
#: Seconds to wait for another process that has the database.
LOCK_SECONDS = 20.0

#: The ports of servers whose URI has none, by scheme.
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
#: The schemes of databases.
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
#: The packages of drivers that bear another name than their module.
PACKAGES = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]"}

OTHERWISE = "or change or unset MLFLOW_TRACKING_URI to use sqlite:///mlflow.db in this folder"


def check_server(*, writes: bool = False) -> None:
    """Make sure that the store answers, and that it takes what is written if the caller `writes`.

    Raises GensweepError within seconds if not.
    """
    if not writes and last_answer() is not None:  # it has answered, and is as it was
        return
    uri = current_uri()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        _check_uri(uri)
        with _migration_lock(uri):
            client().search_experiments(max_results=1)
            if writes:
                _try_to_write(uri)
    except (OSError, ValueError, ImportError, sqlite3.Error, SQLAlchemyError, MlflowException) as error:
        raise GensweepError(f"the MLflow store {redact(uri)} {_problem(error)}") from error


def store_folders() -> dict[str, Path]:
    """The folders of this machine that the store writes, by what they are for; none if it is a server."""
    file = database_file(current_uri())
    return (
        {} if file is None else {"MLflow store": file.absolute().parent, "MLflow artifacts": Path("mlruns").absolute()}
    )


def _try_to_write(uri: str) -> None:
    """Set a tag of our experiment that it has anyhow.  Raises GensweepError if the store does not take it."""
    from mlflow.exceptions import MlflowException

    try:
        store = client()
        experiment = experiment_id(store, create=True)
        for key, value in experiment_tags().items():
            store.set_experiment_tag(str(experiment), key, value)
    except (OSError, MlflowException) as error:
        raise GensweepError(
            f"the MLflow store {redact(uri)} answers, but takes no records ({cause_of(error)}); look at who may write "
            f"there, {OTHERWISE}"
        ) from error


def _check_uri(uri: str) -> None:
    """Raises what the store's own library would, but at once."""
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme in DATABASES:
        from sqlalchemy import make_url

        make_url(uri).get_dialect().import_dbapi()
    if (file := database_file(uri)) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _check_database(file)
    elif scheme in ("http", "https") and not parts.hostname:
        raise ValueError("it names no host")
    elif scheme in PORTS and parts.hostname:
        # Cheaper than MLflow's own call when a firewall swallows packets, and a clearer message.
        socket.create_connection((parts.hostname, parts.port or PORTS[scheme]), timeout=CONNECT_SECONDS).close()


def _check_database(file: Path) -> None:
    """Raises sqlite3.Error if it cannot be read; one that is missing is made, without content."""
    # MLflow would try for two minutes to open what cannot be opened.
    mode = "rw" if file.exists() else "rwc"
    with closing(sqlite3.connect(f"file:{quote(str(file))}?mode={mode}", uri=True, timeout=LOCK_SECONDS)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _problem(error: Exception) -> str:
    """Why the store cannot be used and what to do, as the rest of a sentence about it."""
    from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

    for each in chain(error):
        if isinstance(each, NoSuchModuleError):
            return f"names a driver that nobody knows ({cause_of(each)}); correct it, {OTHERWISE}"
        if isinstance(each, ModuleNotFoundError) and each.name:
            package = PACKAGES.get(each.name, each.name)
            return f"needs the Python package {each.name}, which is missing: pip install '{package}', {OTHERWISE}"
    if (locked := database_problem(error)) is not None:
        return f"cannot be used ({cause_of(locked)}); {UNAVAILABLE[primary_code(locked)]}, {OTHERWISE}"
    if (words := file_problem(error)) is not None:
        return f"cannot be used: {words}"
    if isinstance(error, sqlite3.DatabaseError | DatabaseError):
        return (
            f"is damaged ({cause_of(getattr(error, 'orig', None) or error)}); restore a backup, or move its file away: "
            "the next command makes the runs anew from the logs of the sweeps"
        )
    if isinstance(error, ArgumentError | ValueError) and not isinstance(error, UnicodeError):
        return f"cannot be understood ({cause_of(error)}); correct it, {OTHERWISE}"
    if "maintenance mode" in str(error):
        return f"is a folder, where MLflow keeps no more runs; name a database, such as sqlite:///runs.db, {OTHERWISE}"
    if "unsupported URI" in str(error):
        return (
            f"has a scheme that MLflow does not know (known: {', '.join([*PORTS, 'sqlite'])}); correct it, {OTHERWISE}"
        )
    return f"does not answer ({cause_of(error)}); start the server, {OTHERWISE}"


@contextmanager
def _migration_lock(uri: str) -> Iterator[None]:
    """Hold a database file: two processes that make it at once would run into each other's migrations.

    Where its folder is read-only, nobody makes it.
    """
    file = database_file(uri)
    with ExitStack() as held:
        if file is not None:
            with suppress(OSError):
                held.enter_context(FileLock(f"{file}.lock"))
        yield
