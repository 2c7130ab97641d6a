"""Models of trained checkpoints in MLflow: registered, loaded, served; and the alias, which moves when it is sure."""

import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas
import pytest
from logged import LoggedSweep
from mlflow_runs import runs_of
from PIL import Image
from untrained import checkpoint, config

from gensweep.api.mlflow_verdicts import register_recommended
from gensweep.api.verdicts import compare, load
from gensweep.errors import GensweepError
from gensweep.tracking.logged_models import CHAMPION, models_of
from gensweep.tracking.served_model import ServedModel
from gensweep.tracking.store import client

pytestmark = pytest.mark.mlflow


def add(sweep, trial, score, made, **values):
    """A finished trial with a checkpoint of a conditional model."""
    sweep.start(trial, {}, config("diffusion").as_dict())
    sweep.evaluate(trial, 32, score, made, **values)
    sweep.end(trial)


@pytest.fixture(scope="module")
def made(store):
    folder = checkpoint(store / "made", config("diffusion"))
    Image.new("L", (8, 8)).save(folder / "samples.png")
    return folder


@pytest.fixture(scope="module")
def registered(store, made):
    """A sweep of one trial, which is the champion."""
    sweep = LoggedSweep(store / "sweeps", "first")
    add(sweep, "t0000", 5.0, made, error=0.3)
    sweep.file()
    words = register_recommended(compare("first"), "digits")
    assert words.startswith("first/t0000 is version 1 of digits and now the champion; to serve it: mlflow models serve")
    assert register_recommended(compare("first"), "digits") == words
    with pytest.raises(GensweepError, match="first/t0000 was not registered as '': "):
        register_recommended(compare("first"), "")
    return sweep


def decoded(answer):
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(row["image"])))) for row in answer])


def test_a_model_of_mlflow_draws_what_the_run_draws(registered):
    model = mlflow.pyfunc.load_model(f"models:/digits@{CHAMPION}")
    rows = model.predict([{"label": "3", "seed": 7, "images": 2}, {"seed": 0, "images": 3}]).to_dict(orient="records")
    assert [(row["label"], row["seed"]) for row in rows] == [("3", 7), ("3", 7), ("0", 0), ("1", 0), ("2", 0)]
    ours = load("first")
    expected = [*ours.sample(2, label="3", seed=7), *ours.sample(3)]
    assert (decoded(rows) == np.stack([image[0].numpy() for image in expected])).all()
    assert (load(f"models:/digits@{CHAMPION}").sample(2) == ours.sample(2)).all()
    with pytest.raises(mlflow.MlflowException, match="'cat' is not a class of this model"):
        model.predict([{"label": "cat"}])


@pytest.mark.parametrize(
    "row",
    [{"images": "abc"}, {"images": 1e400}, {"seed": "x"}, {"seed": -1e400}, {"images": [1]}, {"images": 0}],
    ids=str,
)
def test_a_request_that_makes_no_sense_is_status_400(registered, row):
    served = ServedModel(load("first"))
    with pytest.raises(mlflow.MlflowException) as refused:
        served.predict(pandas.DataFrame([row]))
    assert refused.value.get_http_status_code() == 400


def test_nothing_in_a_model_is_pickled_and_no_path_is_in_it(registered, store):
    (folder,) = Path("mlruns").glob("*/models/*/artifacts")
    names = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert names <= {"", ".json", ".yaml", ".txt", ".safetensors", ".png"}
    assert str(store) not in (folder / "MLmodel").read_text()


def test_the_alias_moves_only_to_a_surely_better_model(registered, made):
    add(registered, "t0001", 4.5, made, error=0.3)
    registered.file()
    close = compare("first")
    assert close.too_close
    words = register_recommended(close, "digits")
    assert (
        words
        == "first/t0001 is version 2 of digits; the champion is still version 1, as the verdict is too close to call"
    )
    other = LoggedSweep(registered.folder.path.parent, "second")
    add(other, "t0000", 1.0, made)
    other.file()
    sure = compare("second")
    sure = replace(sure, judged=replace(sure.judged, probability=0.99))
    assert "which is not part of this comparison" in register_recommended(sure, "digits")
    sure = replace(close, judged=replace(close.judged, probability=0.99))
    words = register_recommended(sure, "digits")
    assert words.endswith("; the champion is still version 1, whose score is not certainly worse")
    add(registered, "t0002", 2.0, made, error=0.3)
    registered.file()
    better = compare("first")
    assert not better.too_close
    worse = next(entry for entry in better.comparison.entries if entry.trial.trial == "t0001")
    assert register_recommended(better, "digits").startswith("first/t0002 is version 4 of digits and now the champion")
    # The best model of the best group may be worse than one of another group.
    words = register_recommended(replace(better, judged=replace(better.judged, recommended=worse)), "digits")
    assert re.fullmatch(
        r"Best score: first/t0002 \(.* 2\); recommended: first/t0001, as .*\. first/t0001 is version 2 of digits; the "
        "champion is still version 4, whose score is not certainly worse",
        words,
    )
    # A registered model stays when its trial is no longer among the best, and the others go.
    store = client()
    run = runs_of(registered.folder)["t0000"]
    assert len(models_of(store, run.info.experiment_id, run.info.run_id)) == 1
    assert store.get_model_version("digits", "1").run_id == run.info.run_id
