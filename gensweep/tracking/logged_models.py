"""The best checkpoints of a sweep as models of MLflow: gensweep's code, safetensors, a signature, an example.

Nothing is pickled: MLflow gets the name of the module that loads the checkpoint (`served_model`), and the checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gensweep.errors import GensweepError
from gensweep.scratch import scratch_folder
from gensweep.sweep.folder import PICTURES
from gensweep.tracking.relocation import local_path

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

#: The module whose `_load_pyfunc` gets the checkpoint.
LOADER = "gensweep.tracking.served_model"
#: The tag of a model that says after how many training images its checkpoint was made.
MODEL_IMAGES = "gensweep.images"
#: The tag of a run that says the same of its newest model.
KEPT_IMAGES = "gensweep.model_images"
#: The file of a checkpoint, and of a run, that says how sure its scores are.
ESTIMATES = "estimates.json"
#: The alias of the version of a registered model that is to be served.
CHAMPION = "champion"
#: How the URI of a model begins: models:/ID, models:/NAME/VERSION or models:/NAME@ALIAS.
MODEL_URI = "models:/"


def models_of(client: MlflowClient, experiment: str, run_id: str | None = None) -> Sequence[LoggedModel]:
    """The models of a run, by default of all runs of an experiment, newest first."""
    query = None if run_id is None else f"source_run_id = '{run_id}'"
    found: list[LoggedModel] = []
    token = None
    while True:
        page = client.search_logged_models([experiment], query, page_token=token)
        found += page
        if not (token := page.token):
            return found


def log_model(client: MlflowClient, run: Run, folder: Path, images: str) -> LoggedModel:
    """Make a model of a run's checkpoint, which lies in a folder.  Raises GensweepError if that is gone or damaged."""
    from mlflow.entities import LoggedModelOutput

    label = example_label(folder)
    model = client.create_logged_model(
        run.info.experiment_id,
        name=(run.info.run_name or run.info.run_id).replace("/", "-").replace(".", "_"),
        source_run_id=run.info.run_id,
        tags={MODEL_IMAGES: images},
        params=run.data.params,
        model_type="image generator",
    )
    with scratch_folder("model") as aside:
        _write(aside / "model", folder, model, label)
        client.log_model_artifacts(model.model_id, str(aside / "model"))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=int(images) if images else 0)])
    return client.finalize_logged_model(model.model_id, "READY")


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint in the folder of a model.  Raises GensweepError if there is none."""
    found = next(folder.glob("data/*/checkpoint.json"), None)
    if found is None:
        raise GensweepError(f"{folder} is no model of gensweep: it holds no checkpoint")
    return found.parent


def model_of(client: MlflowClient, run: Run, images: str, fetch: Callable[[], Path]) -> LoggedModel:
    """The model of a run's checkpoint after some images; one that there is not is made of what `fetch` brings."""
    for model in models_of(client, run.info.experiment_id, run.info.run_id):
        if model.tags.get(MODEL_IMAGES) == images and str(model.status) == "READY":
            return model
    return log_model(client, run, fetch(), images)


def register(client: MlflowClient, model: LoggedModel, name: str, description: str) -> ModelVersion:
    """The version of a registered model that a model is; a name or a version that there is not is made."""
    quote = '"' if "'" in name else "'"
    named = f"name = {quote}{name}{quote}"
    if not client.search_registered_models(named):
        client.create_registered_model(name)
    source = f"{MODEL_URI}{model.model_id}"
    for known in client.search_model_versions(named):
        if known.source == source:
            return known
    return client.create_model_version(
        name, source, model.source_run_id, description=description, model_id=model.model_id
    )


def drop_models(client: MlflowClient, experiment: str, run_id: str) -> None:
    """Delete the models of a run, with their files, but for those that somebody registered under a name."""
    registered = {known.source for known in client.search_model_versions(f"run_id = '{run_id}'")}
    for model in models_of(client, experiment, run_id):
        if f"{MODEL_URI}{model.model_id}" not in registered:
            client.delete_logged_model(model.model_id)
            delete_files(model.artifact_location)


def delete_files(location: str) -> None:
    """Delete the file or the folder at an artifact location."""
    if (path := local_path(location)) is not None:  # the path of a URI MLflow would decode twice
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    artifacts: Any = get_artifact_repository(location)
    artifacts.delete_artifacts()


def example_label(folder: Path) -> dict[str, str]:
    """What an example asks of the checkpoint in a folder: its first class, if it draws classes.

    Raises GensweepError if the checkpoint is gone or damaged.
    """
    try:
        checkpoint = json.loads((folder / "checkpoint.json").read_text())
        conditional = checkpoint.get("metadata", {}).get("family", {}).get("conditional")
        return {"label": checkpoint["class_names"][0]} if conditional else {}
    except (FileNotFoundError, NotADirectoryError):
        raise GensweepError(f"the checkpoint {folder} is gone") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise GensweepError(f"the checkpoint {folder} is damaged ({error})") from error


def _write(target: Path, folder: Path, model: LoggedModel, label: dict[str, str]) -> None:
    """The model's files: MLmodel, the checkpoint, an example, and what MLflow needs to make an environment for it.

    Pictures and estimates of the checkpoint are with the run.
    """
    import pandas
    from mlflow import pyfunc
    from mlflow.models import Model

    pyfunc.save_model(
        target,
        mlflow_model=Model(
            run_id=model.source_run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
        loader_module=LOADER,
        data_path=str(folder),
        signature=_signature(labelled=bool(label)),
        input_example=pandas.DataFrame([{**label, "seed": 0, "images": 4}]),
        pip_requirements=[f"gensweep=={version('gensweep')}"],
    )
    for name in (ESTIMATES, *(f"{key}.png" for key in PICTURES)):
        (target / "data" / folder.name / name).unlink(missing_ok=True)


def _signature(*, labelled: bool) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    asked: list[ColSpec | TensorSpec] = [ColSpec("string", "label", required=False)] if labelled else []
    asked += [ColSpec("long", "seed", required=False), ColSpec("long", "images", required=False)]
    drawn: list[ColSpec | TensorSpec] = [
        ColSpec("string", "image"),
        ColSpec("string", "label"),
        ColSpec("long", "seed"),
    ]
    return ModelSignature(Schema(asked), Schema(drawn))
