"""The MLflow store: where it is, whether it answers, and a client that gives up within seconds."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from gensweep.errors import GensweepError
from gensweep.tracking.provenance import redact

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

__all__ = [
    "EXPERIMENT",
    "check_server",
    "client",
    "experiment_id",
    "experiment_name",
    "is_lasting",
    "store_name",
    "tracking_uri",
]

EXPERIMENT = "gensweep"

# One call to a dead server blocks 247 s at MLflow's own settings.  Whoever sets these variables keeps their values.
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for data
}
_CONNECT_SECONDS = 3.0

# Errors that the same request would meet again: everything else (no connection, a locked database) may pass.
_LASTING = frozenset(
    {
        "BAD_REQUEST",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
    }
)

# MLflow's own code against its own dependencies: nothing that we or the user could change.
_KNOWN_WARNINGS = (r"The ``noload`` loader strategy is deprecated",)


# Opens the experiment in the UI's view of training runs; without it, MLflow shows its view of language models.
_TRAINING = {"mlflow.experimentKind": "custom_model_development"}


def experiment_name() -> str:
    """The experiment that holds all sweeps: $MLFLOW_EXPERIMENT_NAME, else "gensweep"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def tracking_uri() -> str:
    """Where runs are kept, without secrets: $MLFLOW_TRACKING_URI, else MLflow's default in the current folder."""
    _prepare()
    from mlflow.tracking import get_tracking_uri

    return redact(str(get_tracking_uri()))


def store_name() -> str:
    """Store and experiment in words that hold in a copy of the current folder, too."""
    return f"{tracking_uri().replace(str(Path.cwd()), '.')} {experiment_name()}"


def client() -> MlflowClient:
    """A client of the store.  Importing MLflow takes about a second."""
    _prepare()
    from mlflow.tracking import MlflowClient

    return MlflowClient()


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
            socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS).close()
        with _alone(uri):
            client().search_experiments(max_results=1)
    except DatabaseError as error:
        cause = redact(str(error.orig)).strip().partition("\n")[0][:300]
        raise GensweepError(
            f"the MLflow store {redact(uri)} is damaged ({cause}); restore a backup, or move its file away: the "
            "next command makes the runs anew from the logs of the sweeps"
        ) from error
    except (OSError, ValueError, MlflowException) as error:
        cause = redact(str(error)).strip().partition("\n")[0][:300]
        raise GensweepError(
            f"the MLflow store {redact(uri)} does not answer ({cause}); "
            "start the server, or change or unset MLFLOW_TRACKING_URI to use sqlite:///mlflow.db in this folder"
        ) from error


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold a database file: two processes that make it at once would run into each other's migrations."""
    path = unquote(urlsplit(uri).path.removeprefix("/")) if uri.startswith("sqlite:") else ""
    if not path or not Path(path).parent.is_dir():
        yield
        return
    with FileLock(f"{path}.lock"):
        yield


def experiment_id(store: MlflowClient, *, create: bool) -> str | None:
    """The id of our experiment; None if there is none and it should not be created."""
    from mlflow.exceptions import MlflowException

    name = experiment_name()
    found = store.get_experiment_by_name(name)
    if found is None and create:
        try:
            return str(store.create_experiment(name, tags=_TRAINING))
        except MlflowException:  # another driver was faster
            found = store.get_experiment_by_name(name)
            if found is None:
                raise
    if found is not None and found.lifecycle_stage == "deleted":
        if not create:
            return None
        store.restore_experiment(found.experiment_id)
    return None if found is None else str(found.experiment_id)


def is_lasting(error: BaseException) -> bool:
    """Whether the same request would fail again, so that trying later is of no use."""
    return getattr(error, "error_code", None) in _LASTING


def _prepare() -> None:
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)
    # A new database announces each of its migrations; a user who typed `tune` did not ask.
    for name in ("mlflow.store.db.utils", "alembic", "mlflow.utils.environment"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # We retry for minutes and say so once; one line of urllib3 an attempt says no more.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    for message in _KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
