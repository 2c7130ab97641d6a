"""The MLflow store: where it is, whether it answers, and a client that gives up within seconds."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from gensweep.errors import GensweepError
from gensweep.tracking.provenance import redact

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

#: Seconds that a server has to accept a connection.
CONNECT_SECONDS = 3.0

#: One call to a dead server blocks 247 s at MLflow's own settings.  Whoever sets these variables keeps their values.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for data
}

#: A new database announces each of its migrations, and urllib3 each of the attempts of which we tell once.
LOG_LEVELS = {
    "mlflow.store.db.utils": logging.WARNING,
    "alembic": logging.WARNING,
    "mlflow.utils.environment": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
}

#: MLflow's own code against its own dependencies: nothing that we or the user could change.
KNOWN_WARNING = r"The ``noload`` loader strategy is deprecated"

#: Errors that the same request would meet again: everything else (no connection, a locked database) may pass.
LASTING_ERRORS = (
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
)

#: What MLflow shows without being told.
DEFAULT_STORES = ("sqlite:///mlflow.db", "sqlite:///./mlflow.db")

#: Opens the experiment in the UI's view of training runs; without it, MLflow shows its view of language models.
TRAINING_RUNS = {"mlflow.experimentKind": "custom_model_development"}


def experiment_name() -> str:
    """The experiment that holds all sweeps: $MLFLOW_EXPERIMENT_NAME, else "gensweep"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gensweep"


def tracking_uri() -> str:
    """Where runs are kept, without secrets: $MLFLOW_TRACKING_URI, else MLflow's default in the current folder."""
    _prepare()
    from mlflow.tracking import get_tracking_uri

    return redact(str(get_tracking_uri()))


def store_name() -> str:
    """Store and experiment in words that hold in a copy of the current folder, too."""
    return f"{tracking_uri().replace(str(Path.cwd()), '.')} {experiment_name()}"


def runs_page() -> str | None:
    """Where a server shows the runs of our experiment, to be followed by the id of one; without credentials.

    None for a store that no server shows, such as a database in this folder.
    """
    _prepare()
    from mlflow.tracking import get_tracking_uri

    parts = urlsplit(str(get_tracking_uri()))
    if parts.scheme not in ("http", "https") or (experiment := experiment_id(client(), create=False)) is None:
        return None
    return (
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/#/experiments/{experiment}/runs/"
    )


def ui_command() -> str:
    """The command that shows the runs of a store that no server shows, in words that hold in a copy of the folder."""
    uri = tracking_uri().replace(str(Path.cwd()), ".")
    return "mlflow ui" if uri in DEFAULT_STORES else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def client() -> MlflowClient:
    """A client of the store.  Importing MLflow takes about a second."""
    _prepare()
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def search_runs(experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that fit a query in MLflow's language."""
    _prepare()
    from mlflow import search_runs

    found: list[Run] = search_runs([experiment], query, max_results=sys.maxsize, output_format="list")
    return found


def check_server() -> None:
    """Make sure that the store answers.  Raises GensweepError within seconds if it does not."""
    _prepare()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import get_tracking_uri
    from sqlalchemy.exc import DatabaseError

    uri = str(get_tracking_uri())
    parts = urlsplit(uri)
    try:
        if parts.scheme in ("http", "https") and parts.hostname:
            # Cheaper than MLflow's own call when a firewall swallows packets, and a clearer message.
            port = parts.port or (443 if parts.scheme == "https" else 80)
            socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
        with _migration_lock(uri):
            client().search_experiments(max_results=1)
    except DatabaseError as error:
        raise GensweepError(
            f"the MLflow store {redact(uri)} is damaged ({cause_of(error.orig)}); restore a backup, or move its file "
            "away: the next command makes the runs anew from the logs of the sweeps"
        ) from error
    except (OSError, ValueError, MlflowException) as error:
        raise GensweepError(
            f"the MLflow store {redact(uri)} does not answer ({cause_of(error)}); "
            "start the server, or change or unset MLFLOW_TRACKING_URI to use sqlite:///mlflow.db in this folder"
        ) from error


def experiment_id(store: MlflowClient, *, create: bool) -> str | None:
    """The id of our experiment; None if there is none and it should not be created."""
    from mlflow.exceptions import MlflowException

    name = experiment_name()
    found = store.get_experiment_by_name(name)
    if found is None and create:
        try:
            return str(store.create_experiment(name, tags=TRAINING_RUNS))
        except MlflowException:  # another driver was faster
            found = store.get_experiment_by_name(name)
            if found is None:
                raise
    if found is not None and found.lifecycle_stage == "deleted":
        if not create:
            return None
        store.restore_experiment(found.experiment_id)
    return None if found is None else str(found.experiment_id)


def cause_of(error: BaseException | None) -> str:
    """What an error of the store says, on one line and without secrets."""
    return redact(str(error)).strip().partition("\n")[0][:300]


@contextmanager
def explaining_errors(message: str) -> Iterator[None]:
    """Raise a GensweepError where the store fails, with a message in which CAUSE stands for what the store said."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise GensweepError(message.replace("CAUSE", cause_of(error))) from error


@contextmanager
def skipping_refused(run: str) -> Iterator[None]:
    """Log and pass over what the store refuses for good, so that it does not hold up the rest; `run` names a trial."""
    try:
        yield
    except Exception as error:
        if getattr(error, "error_code", None) not in LASTING_ERRORS:
            raise
        logger.warning("MLflow refused a record of %s: %s", run or "the sweep", error)


@contextmanager
def _migration_lock(uri: str) -> Iterator[None]:
    """Hold a database file: two processes that make it at once would run into each other's migrations."""
    path = unquote(urlsplit(uri).path.removeprefix("/")) if uri.startswith("sqlite:") else ""
    with FileLock(f"{path}.lock") if path and Path(path).parent.is_dir() else nullcontext():
        yield


def _prepare() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    warnings.filterwarnings("ignore", message=KNOWN_WARNING)
