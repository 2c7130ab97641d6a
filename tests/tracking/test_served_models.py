"""Models of trained checkpoints in MLflow: registered, loaded, served; and the alias, which moves when it is sure."""

import base64
import io
import json
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from logged import LoggedSweep
from PIL import Image
from untrained import checkpoint, config

from gensweep.api.registration import register_winner
from gensweep.api.trained import load
from gensweep.api.verdicts import compare
from gensweep.errors import GensweepError
from gensweep.sweep.checkpoints import checkpoint_uri
from gensweep.tracking.artifacts import influences
from gensweep.tracking.logged_models import CHAMPION, models_of
from gensweep.tracking.runs import find_trial
from gensweep.tracking.store import client

pytestmark = pytest.mark.mlflow

#: Seconds that a server has to start.
STARTING = 120.0


def add(sweep, trial, score, made, **values):
    """A finished trial with a checkpoint of a conditional model."""
    uri = checkpoint_uri(str(sweep.folder.path), trial, 32)
    sweep.start(trial, {}, config("diffusion").as_dict())
    shutil.copytree(made, uri)
    sweep.evaluate(trial, 32, score, uri, **values)
    sweep.end(trial)


@pytest.fixture(scope="module")
def made(store):
    folder = checkpoint(store / "made", config("diffusion"))
    (folder / "estimates.json").write_text(json.dumps({"fd": {"influences": [0.5, 0.25]}}))
    Image.new("L", (8, 8)).save(folder / "samples.png")
    return folder


@pytest.fixture(scope="module")
def registered(store, made):
    """A sweep of one trial, which is the champion."""
    sweep = LoggedSweep(store / "sweeps", "first")
    add(sweep, "t0000", 5.0, made, error=0.3)
    sweep.file()
    words = register_winner(compare("first"), "digits")
    assert words.startswith("first/t0000 is version 1 of digits and its champion: mlflow models serve")
    assert register_winner(compare("first"), "digits") == words
    words = register_winner(compare("first"), "rob's digits")
    assert words.startswith("first/t0000 is version 1 of rob's digits and its champion: mlflow models serve")
    assert f"models:/rob's digits@{CHAMPION}" in shlex.split(words.partition(": ")[2])
    with pytest.raises(GensweepError, match="first/t0000 was not registered as '': "):
        register_winner(compare("first"), "")
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


def test_nothing_in_a_model_is_pickled_and_no_path_is_in_it(registered, store):
    (folder,) = Path("mlruns").glob("*/models/*/artifacts")
    names = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert names <= {"", ".json", ".yaml", ".txt", ".safetensors", ".png"}
    assert str(store) not in (folder / "MLmodel").read_text()


def test_estimates_and_pictures_are_with_the_run_and_not_in_its_model_too(registered):
    trial = find_trial("first")
    inside = {file.name for file in Path(trial.checkpoint).iterdir()}
    assert "state.safetensors" in inside
    assert not inside & {"estimates.json", "samples.png", "real.png"}
    assert "estimates.json" in [item.path for item in client().list_artifacts(trial.run_id)]
    assert influences(trial, "fd") == [0.5, 0.25]


def test_the_alias_moves_only_if_the_verdict_is_sure_and_its_model_surely_better(registered, made):
    add(registered, "t0001", 4.5, made, error=0.3)
    registered.file()
    first = find_trial("first/t0000")
    close = compare("first")
    assert close.too_close
    words = register_winner(close, "digits")
    assert (
        words == "first/t0001 is version 2 of digits; its champion stays version 1, as the verdict is too close to call"
    )
    other = LoggedSweep(registered.folder.path.parent, "second")
    add(other, "t0000", 1.0, made)
    other.file()
    sure = compare("second")
    sure = replace(sure, judged=replace(sure.judged, probability=0.99))
    assert "which this verdict does not look at" in register_winner(sure, "digits")
    sure = replace(close, judged=replace(close.judged, probability=0.99))
    words = register_winner(sure, "digits")
    assert words.endswith("; its champion stays version 1, whose score is not surely worse")
    add(registered, "t0002", 2.0, made, error=0.3)
    registered.file()
    better = compare("first")
    assert not better.too_close
    worse = next(entry for entry in better.comparison.entries if entry.trial.trial == "t0001")
    assert register_winner(better, "digits").startswith("first/t0002 is version 4 of digits and its champion")
    # The best model of the best group may be worse than one of another group.
    words = register_winner(replace(better, judged=replace(better.judged, winner=worse)), "digits")
    assert words == (
        "first/t0001 is version 2 of digits; its champion stays version 4, whose score is not surely worse"
    )
    # A registered model stays when its trial is no longer among the best, and the others go.
    store = client()
    run = store.get_run(first.run_id)
    assert len(models_of(store, run.info.experiment_id, first.run_id)) == 1
    assert store.get_model_version("digits", "1").run_id == first.run_id


@pytest.mark.slow
def test_mlflow_serves_images(registered, store):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/digits@{CHAMPION}"]
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", port], stderr=subprocess.DEVNULL
    )
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps({"dataframe_records": [{"label": "3", "seed": 0, "images": 2}]}).encode(),
        {"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + STARTING
    try:
        while True:
            try:
                with urllib.request.urlopen(request) as response:
                    answer = json.load(response)
                break
            except urllib.error.URLError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait()
    assert decoded(answer["predictions"]).shape == (2, 8, 8)
