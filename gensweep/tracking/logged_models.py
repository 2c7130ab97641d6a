"""The best checkpoints of a sweep as models of MLflow: gensweep's code, safetensors, a signature, an example.

Nothing is pickled: MLflow gets the checkpoint and the name of the module that loads it (`served_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gensweep.errors import GensweepError
from gensweep.files import parse_json, scratch_folder
from gensweep.sweep.folder import PICTURES
from gensweep.sweep.stored_sweeps import MODEL_URI
from gensweep.tracking.store import check_store, current_uri, database_is_missing, explaining_errors, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

#: The module whose `_load_pyfunc` loads the checkpoint.
LOADER = "gensweep.tracking.served_model"
#: The tag of a model with the training images of its checkpoint.
MODEL_IMAGES = "gensweep.images"
#: The alias of the version of a registered model to serve.
CHAMPION = "champion"


def models_of(client: MlflowClient, experiment: str, run_id: str) -> Sequence[LoggedModel]:
    """The models of a run, newest first."""
    return list(client.search_logged_models([experiment], f"source_run_id = '{run_id}'"))


def model_of(client: MlflowClient, run: Run, images: int, folder: Path) -> LoggedModel:
    """The model of a run's checkpoint, created from a folder if needed.  Raises GensweepError if that is damaged."""
    from mlflow.entities import LoggedModelOutput

    for known in models_of(client, run.info.experiment_id, run.info.run_id):
        if known.tags.get(MODEL_IMAGES) == str(images) and str(known.status) == "READY":
            return known
    try:
        parse_json((folder / "checkpoint.json").read_text())
    except (OSError, ValueError) as error:
        raise GensweepError(f"the checkpoint {folder} is missing or damaged ({error})") from error
    model = client.create_logged_model(
        run.info.experiment_id,
        name=(run.info.run_name or run.info.run_id).replace("/", "-").replace(".", "_"),
        source_run_id=run.info.run_id,
        tags={MODEL_IMAGES: str(images)},
        params=run.data.params,
        model_type="image generator",
    )
    with scratch_folder("model") as aside:
        _write(aside / "model", folder, model)
        client.log_model_artifacts(model.model_id, str(aside / "model"))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=images)])
    return client.finalize_logged_model(model.model_id, "READY")


def fetch_model(uri: str) -> Path:
    """The checkpoint in a registered model, on this machine.  Raises GensweepError if the store does not have it."""
    with explaining_errors(f"{uri} cannot be fetched: CAUSE"):
        if database_is_missing():
            raise GensweepError(f"there is no store {tracking_uri()}")
        check_store()
        from mlflow.artifacts import download_artifacts

        folder = Path(download_artifacts(artifact_uri=uri, tracking_uri=current_uri()))
        return next((file.parent for file in folder.glob("data/*/checkpoint.json")), folder)


def register(client: MlflowClient, model: LoggedModel, name: str, description: str) -> ModelVersion:
    """Register a model under a name, unless it is already a version of it; returns the version."""
    named = f"name = '{name}'"
    if not client.search_registered_models(named):
        client.create_registered_model(name)
    source = f"{MODEL_URI}{model.model_id}"
    for known in client.search_model_versions(named):
        if known.source == source:
            return known
    return client.create_model_version(
        name, source, model.source_run_id, description=description, model_id=model.model_id
    )


def drop_models(client: MlflowClient, experiment: str, run_id: str, keep: str = "") -> None:
    """Delete the models of a run with their files, except registered ones and the one with the id `keep`."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    registered = {known.source for known in client.search_model_versions(f"run_id = '{run_id}'")}
    for model in models_of(client, experiment, run_id):
        if model.model_id != keep and f"{MODEL_URI}{model.model_id}" not in registered:
            client.delete_logged_model(model.model_id)
            get_artifact_repository(model.artifact_location).delete_artifacts()  # type: ignore[no-untyped-call]


def _write(target: Path, folder: Path, model: LoggedModel) -> None:
    """Write MLmodel, the checkpoint, an example and the requirements; the run has the pictures."""
    import pandas
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    asked = {"label": "string", "seed": "long", "images": "long"}
    drawn = {"image": "string", "label": "string", "seed": "long"}
    pyfunc.save_model(
        target,
        mlflow_model=Model(run_id=model.source_run_id, model_uuid=model.model_id, model_id=model.model_id),
        loader_module=LOADER,
        data_path=str(folder),
        signature=ModelSignature(
            Schema([ColSpec(kind, name, required=False) for name, kind in asked.items()]),
            Schema([ColSpec(kind, name) for name, kind in drawn.items()]),
        ),
        input_example=pandas.DataFrame([{"seed": 0, "images": 4}]),
        pip_requirements=[f"gensweep=={version('gensweep')}"],
    )
    for key in PICTURES:
        (target / "data" / folder.name / f"{key}.png").unlink(missing_ok=True)
