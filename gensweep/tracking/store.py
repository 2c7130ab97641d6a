"""The MLflow store: its place, a client that fails within seconds, and errors in one line with a remedy."""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from filelock import FileLock

from gensweep.causes import chain, database_problem, file_problem
from gensweep.errors import GensweepError
from gensweep.redaction import redact
from gensweep.tracking.tags import SWEEP_ID, TRIAL

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

#: Defaults of MLflow's own variables; with MLflow's defaults one call to a dead server blocks for 247 s.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the copy is retried as a whole
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # the project in the current folder does not describe a model
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for data
}
#: Loggers that would print each migration, attempt and traceback.
LOG_LEVELS = {
    "mlflow.store.db.utils": logging.CRITICAL,
    "alembic": logging.WARNING,
    "mlflow.utils.environment": logging.WARNING,
    "mlflow.pyfunc": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
}
#: Warnings of MLflow's own code that users cannot fix.
KNOWN_WARNINGS = (
    r"The ``noload`` loader strategy is deprecated",
    r".*Any type hint is inferred as AnyType",
    r"Operation with range is deprecated",
)
#: Errors that a retry would repeat; all others may pass.
LASTING_ERRORS = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)
#: Seconds to wait for a server, or for another process that has locked the database.
ANSWER_SECONDS = 4.0
#: Opens the experiment in MLflow's view of model training.
TRAINING_RUNS = {"mlflow.experimentKind": "custom_model_development"}
OTHERWISE = "or change or unset MLFLOW_TRACKING_URI to use sqlite:///mlflow.db in this folder"


def experiment_name() -> str:
    """The experiment of all sweeps: $MLFLOW_EXPERIMENT_NAME, else "gensweep"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gensweep"


def current_uri() -> str:
    """$MLFLOW_TRACKING_URI, which `mlflow.set_tracking_uri` also sets; else a database in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


def tracking_uri() -> str:
    """The current URI without secrets."""
    return redact(current_uri())


def store_name(folder: Path) -> str:
    """URI and experiment; the path of a database is relative to a folder, so that you can move both together."""
    database = database_file()
    place = tracking_uri() if database is None else f"sqlite:///{os.path.relpath(database.resolve(), folder.resolve())}"
    return f"{place} {experiment_name()}"


def database_file() -> Path | None:
    """The file of the store's SQLite database; None for other stores."""
    uri = current_uri()
    path = uri.partition(":///")[2].partition("?")[0] if uri.startswith("sqlite") else ""
    return Path(path) if path else None


def database_is_missing() -> bool:
    """True if the store is an SQLite database that does not exist."""
    file = database_file()
    return file is not None and not file.exists()


def client() -> MlflowClient:
    """A client of the store.  Importing MLflow takes about a second."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    from mlflow.tracking import MlflowClient

    return MlflowClient(current_uri())


def runs_of(store: MlflowClient, sweep_id: str, trial: str | None = None) -> list[Run]:
    """The runs of a sweep, or of one trial, newest first; the trial "" is the sweep itself."""
    query = f"tags.`{SWEEP_ID}` = '{sweep_id}'" + ("" if trial is None else f" and tags.`{TRIAL}` = '{trial}'")
    experiment, found, token = experiment_id(store), list["Run"](), None
    while True:
        page = store.search_runs([experiment], query, max_results=1000, page_token=token)
        found += page
        if not (token := page.token):
            return found


def experiment_id(store: MlflowClient) -> str:
    """The id of gensweep's experiment, created if needed.  Raises GensweepError if its database was moved."""
    found = store.get_experiment_by_name(experiment_name())
    if found is None:
        return str(store.create_experiment(experiment_name(), tags=TRAINING_RUNS))
    if found.lifecycle_stage == "deleted":
        store.restore_experiment(found.experiment_id)
    # MLflow stores absolute paths, so it would write to the former folder.
    database, artifacts = database_file(), Path(found.artifact_location)
    if database is not None and artifacts.is_absolute() and artifacts.parent.name == "mlruns":
        here, former = database.absolute().parent, artifacts.parents[1]
        if former.resolve() != here.resolve() and (here / "mlruns" / artifacts.name).is_dir():
            raise GensweepError(
                f"{database} was moved from {former} and still refers to it; move {database.name} and mlruns "
                "away; the next command creates the runs again from the logs of the sweeps"
            )
    return str(found.experiment_id)


def check_store() -> None:
    """Raise GensweepError within seconds if the store is not usable; creates a missing database."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    file = database_file()
    if file is not None and (odd := set('#?%"') & {*str(file.absolute())}):
        raise GensweepError(f"MLflow cannot use {file.absolute().parent}, whose name has {min(odd)}; rename it")
    try:
        _check_uri(current_uri())
        # Two processes that create a database at the same time would disturb each other's migrations.
        with nullcontext() if file is None else FileLock(f"{file}.lock"):
            client().search_experiments(max_results=1)
    except (OSError, ValueError, ImportError, sqlite3.Error, SQLAlchemyError, MlflowException) as error:
        raise GensweepError(f"the MLflow store {tracking_uri()} {_problem(error)}") from error


def _check_uri(uri: str) -> None:
    """Raise at once the error that MLflow would raise after minutes."""
    parts = urlsplit(uri)
    if parts.scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql"):
        from sqlalchemy import make_url

        make_url(uri).get_dialect().import_dbapi()
    if (file := database_file()) is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file, timeout=ANSWER_SECONDS)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    elif parts.scheme in ("http", "https"):
        if not parts.hostname or parts.port == 0:
            raise ValueError("it names no host")
        host = parts.netloc.rpartition("@")[2]
        try:
            with suppress(HTTPError):  # also a response
                urlopen(f"{parts.scheme}://{host}{parts.path.rstrip('/')}/health", timeout=ANSWER_SECONDS).close()
        except URLError as error:
            raise error.reason if isinstance(error.reason, OSError) else error from None
        except HTTPException as error:
            raise ConnectionError("no answer in HTTP") from error


def _problem(error: Exception) -> str:
    """The cause and a remedy, as the rest of a sentence about the store."""
    from sqlalchemy.exc import ArgumentError, DatabaseError

    for each in chain(error):
        if isinstance(each, ModuleNotFoundError):
            return f"needs the Python module {each.name}, which is missing; install it, {OTHERWISE}"
        if getattr(each, "error_code", None) in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return f"refuses your login ({cause_of(each)}); set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if (locked := database_problem(error)) is not None:
        return f"cannot be used {locked}, {OTHERWISE}"
    if (words := file_problem(error)) is not None:
        return f"cannot be used: {words}"
    if isinstance(error, sqlite3.DatabaseError | DatabaseError):
        return (
            f"is damaged ({cause_of(getattr(error, 'orig', None) or error)}); restore a backup, or move its file away: "
            "the next command creates the runs again from the logs of the sweeps"
        )
    if isinstance(error, ArgumentError | ValueError) and not isinstance(error, UnicodeError):
        return f"cannot be understood ({cause_of(error)}); correct it, {OTHERWISE}"
    return f"is not reachable ({cause_of(error)}); start the server, {OTHERWISE}"


def cause_of(error: BaseException) -> str:
    """The first line of an error, without secrets; gensweep's own errors in full."""
    line = redact(str(error)).strip().partition("\n")[0]
    return line if isinstance(error, GensweepError) else line[:300]


@contextmanager
def explaining_errors(message: str) -> Iterator[None]:
    """Turn an error into a GensweepError with a message, in which CAUSE stands for the original message."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (GensweepError, MlflowException, OSError) as error:
        raise GensweepError(message.replace("CAUSE", cause_of(error))) from error


@contextmanager
def skipping_refused(run: str) -> Iterator[None]:
    """Log and skip a record that the store will always refuse, so that it does not block the others."""
    try:
        yield
    except Exception as error:
        if getattr(error, "error_code", None) not in LASTING_ERRORS:
            raise
        logger.warning("MLflow refused a record of %s: %s", run or "the sweep", error)
