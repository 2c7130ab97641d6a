"""The MLflow store: where it is, and a client that gives up within seconds."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from gensweep.errors import GensweepError
from gensweep.redaction import redact
from gensweep.tracking.last_answer import LastAnswer, StoredRun, last_answer, version
from gensweep.tracking.logged_models import KEPT_IMAGES, MODEL_IMAGES, models_of
from gensweep.tracking.relocation import DATABASE_FOLDER, follow, former_folder
from gensweep.tracking.tags import TRIAL, VIEW, VIEW_FORMAT, details_files

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.tracking import MlflowClient

logger = logging.getLogger(__name__)

#: One call to a dead server blocks 247 s at MLflow's own settings.  Whoever sets these variables keeps their values.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # a model is not described by whatever project lies in the current folder
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # stdout is for data
}

#: A new database announces each of its migrations, MLflow and urllib3 each of the attempts of which we tell once.
LOG_LEVELS = {
    "mlflow.store.db.utils": logging.CRITICAL,  # a locked database would show a traceback
    "alembic": logging.WARNING,
    "mlflow.utils.environment": logging.WARNING,
    "mlflow.pyfunc": logging.WARNING,
    "urllib3.connectionpool": logging.ERROR,
}

#: MLflow's own code against its own dependencies and types: nothing that we or the user could change.
KNOWN_WARNINGS = (
    r"The ``noload`` loader strategy is deprecated",
    r".*Any type hint is inferred as AnyType",
    r"Operation with range is deprecated",
)

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
DEFAULT_STORE = "sqlite:///./mlflow.db"

#: What the experiment is about, in MLflow's words; its UI looks at them where it has no switch between two views.
TRAINING_RUNS = {"mlflow.experimentKind": "custom_model_development"}


def experiment_name() -> str:
    """The experiment that holds all sweeps: $MLFLOW_EXPERIMENT_NAME, else "gensweep"."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "gensweep"


def current_uri() -> str:
    """Where runs are kept, as it is: $MLFLOW_TRACKING_URI, else MLflow's default in the current folder."""
    if "mlflow" not in sys.modules and (known := last_answer()) is not None:
        return known.uri
    _prepare()
    from mlflow.tracking import get_tracking_uri

    return str(get_tracking_uri())


def tracking_uri() -> str:
    """Where runs are kept, without secrets."""
    return redact(current_uri())


def store_name() -> str:
    """Store and experiment in words that hold in a copy of the current folder, too."""
    return f"{_spelt(tracking_uri())} {experiment_name()}"


def is_this_store(noted: str) -> bool:
    """Whether a name of a store means this one; earlier versions spelt a database as the user did."""
    name = store_name()
    return noted in ("", name, name.replace("sqlite:///./", "sqlite:///", 1))


def _spelt(uri: str) -> str:
    """A URI in words that hold in a copy of the current folder; of a database there is one spelling."""
    database, here = database_file(uri), Path.cwd()
    if database is None:
        return uri.replace(str(here), ".")
    file = database.absolute()
    return f"sqlite:///./{file.relative_to(here)}" if file.is_relative_to(here) else f"sqlite:///{file}"


#: What makes a page of MLflow one of model training where its UI has that switch: then it looks at nothing else.
MODEL_TRAINING = "?workflowType=machine_learning"


def runs_page() -> str | None:
    """Where a server shows the runs of our experiment, to be followed by the id of one; without credentials.

    None for a store that no server shows, such as a database in this folder.
    """
    parts = urlsplit(current_uri())
    if parts.scheme not in ("http", "https") or (experiment := experiment_id(client(), create=False)) is None:
        return None
    return (
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/#/experiments/{experiment}/runs/"
    )


def ui_command() -> str:
    """The command that shows the runs of a store that no server shows, in words that hold in a copy of the folder."""
    uri = _spelt(tracking_uri())
    return "mlflow ui" if uri == DEFAULT_STORE else f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def client() -> MlflowClient:
    """A client of the store.  Importing MLflow takes about a second."""
    _prepare()
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def stored_runs() -> Sequence[StoredRun]:
    """The runs of all sweeps and trials of our experiment, without MLflow where it would say what it said last time."""
    if (known := last_answer()) is not None:
        return known.runs
    uri, store = current_uri(), client()
    database = database_file(uri)
    before = None if database is None else version(database)
    experiment = experiment_id(store, create=False)
    runs = [] if experiment is None else search_runs(experiment, "tags.`gensweep.kind` != ''")
    models = [] if experiment is None else models_of(store, experiment)
    of_runs = {(model.source_run_id, model.tags.get(MODEL_IMAGES)): model for model in models}
    details, lost = _details(runs)
    found = [
        _stored(run, details, lost, of_runs.get((run.info.run_id, run.data.tags.get(KEPT_IMAGES)))) for run in runs
    ]
    if not lost and database is not None and before is not None and before == version(database):
        LastAnswer(uri, str(database.absolute()), before, found).keep()
    return found


def _details(runs: Sequence[Run]) -> tuple[dict[str, dict[str, Any]], set[str]]:
    """The details of the trials of each sweep, by the id of its run, and the ids of those that have lost some."""
    from mlflow.artifacts import load_dict
    from mlflow.exceptions import MlflowException

    trials: dict[str, list[str]] = {}
    for run in runs:
        trials.setdefault(run.data.tags.get("mlflow.parentRunId", ""), []).append(run.data.tags.get(TRIAL, ""))
    found, lost = dict[str, dict[str, Any]](), set[str]()
    for run in runs:
        run_id, tags = str(run.info.run_id), run.data.tags
        if tags["gensweep.kind"] != "sweep" or VIEW not in tags:
            continue
        names, details = trials.get(run_id, []), found.setdefault(run_id, {})
        for file in details_files(names):
            with suppress(MlflowException, OSError):  # by its place: by the run, MLflow would look for models first
                details |= load_dict(f"{run.info.artifact_uri}/{file}")
        if tags[VIEW] == VIEW_FORMAT and tags.get("gensweep.status") != "running" and set(names) - details.keys():
            lost.add(run_id)
    return found, lost


def _stored(
    run: Run, details: Mapping[str, Mapping[str, Any]], lost: Collection[str], model: LoggedModel | None
) -> StoredRun:
    tags = run.data.tags
    return StoredRun(
        run_id=str(run.info.run_id),
        status=str(run.info.status),
        started=run.info.start_time or 0,
        tags=tags,
        params=run.data.params,
        metrics=run.data.metrics,
        model_id=None if model is None else model.model_id,
        model_location="" if model is None else model.artifact_location,
        details=details.get(tags.get("mlflow.parentRunId", ""), {}).get(tags.get("gensweep.trial", ""), {}),
        has_lost_details=str(run.info.run_id) in lost,
    )


def remember_runs() -> None:
    """Spare the next command to ask for the runs, where that can be.  Never raises: the store may be away."""
    with suppress(Exception):
        if database_file(current_uri()) is not None:
            stored_runs()


def search_runs(experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that fit a query in MLflow's language."""
    _prepare()
    from mlflow import search_runs

    found: list[Run] = search_runs([experiment], query, max_results=sys.maxsize, output_format="list")
    return found


def experiment_id(store: MlflowClient, *, create: bool) -> str | None:
    """The id of our experiment; None if there is none and it should not be created.

    The places in a database that was moved or copied follow first.
    """
    from mlflow.exceptions import MlflowException

    name = experiment_name()
    found = store.get_experiment_by_name(name)
    if found is not None and (database := database_file(current_uri())) is not None:
        former = former_folder(database, found.tags, found.artifact_location)
        if former is not None:
            follow(database, former, found.experiment_id)
    if found is None and create:
        try:
            return str(store.create_experiment(name, _artifact_location(name), tags=experiment_tags()))
        except MlflowException:  # another driver was faster
            found = store.get_experiment_by_name(name)
            if found is None:
                raise
    if found is not None and found.lifecycle_stage == "deleted":
        if not create:
            return None
        store.restore_experiment(found.experiment_id)
    return None if found is None else str(found.experiment_id)


def experiment_tags() -> dict[str, str]:
    """The tags that our experiment has in this store."""
    database = database_file(current_uri())
    return TRAINING_RUNS if database is None else {**TRAINING_RUNS, DATABASE_FOLDER: str(database.absolute().parent)}


def database_file(uri: str) -> Path | None:
    """The file of an SQLite database; None for one in memory, and for all else."""
    from sqlalchemy import make_url

    path = make_url(uri).database if uri.startswith("sqlite:") else None
    return Path(path) if path and path != ":memory:" else None


def _artifact_location(experiment: str) -> str | None:
    """Where the files of an experiment go if MLflow would misread the name of this folder; None: where it says.

    MLflow takes the path that it chooses for an SQLite database for a URI, in which '#', '?' and '%' mean something
    else, and writes the files to other folders.
    """
    folder = Path("mlruns").absolute()
    if not current_uri().startswith("sqlite:") or quote(str(folder)) == str(folder):
        return None
    return f"{folder.as_uri()}/{quote(experiment, safe='')}"


def cause_of(error: BaseException | None) -> str:
    """What an error of the store says, on one line and without secrets; what we say ourselves is said whole."""
    line = redact(str(error)).strip().partition("\n")[0]
    return line if isinstance(error, GensweepError) else line[:300]


@contextmanager
def explaining_errors(message: str) -> Iterator[None]:
    """Raise a GensweepError where the store fails, with a message in which CAUSE stands for what the store said."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise GensweepError(message.replace("CAUSE", cause_of(error))) from error


def is_refusal(error: Exception) -> bool:
    """Whether the store refuses something for good."""
    return getattr(error, "error_code", None) in LASTING_ERRORS


@contextmanager
def skipping_refused(run: str) -> Iterator[None]:
    """Log and pass over what the store refuses for good, so that it does not hold up the rest; `run` names a trial."""
    try:
        yield
    except Exception as error:
        if not is_refusal(error):
            raise
        logger.warning("MLflow refused a record of %s: %s", run or "the sweep", error)


def _prepare() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    for message in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
