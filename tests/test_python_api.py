"""`import gensweep as gs`: its page runs from top to bottom, and does what the commands do."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import untrained
from logged import LoggedSweep
from made_up import empty_store
from PIL import Image
from typed_commands import call, foreign

import gensweep as gs
from gensweep.config import load_sweep
from gensweep.shipped import space_file

PAGE = Path(__file__).parent.parent / "docs" / "output.md"


@pytest.mark.trains
def test_the_names_are_listed_documented_and_imported_when_they_are_used():
    code = (
        "import json, sys, gensweep as gs; names = dir(gs); "
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'click'} & set(sys.modules); "
        "print(json.dumps([names, sorted(heavy), [type(getattr(gs, name)).__name__ for name in names]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy, kinds = json.loads(done.stdout)
    assert set(names) == {*gs.__all__, "__version__"}
    assert heavy == []
    functions = {name for name, kind in zip(names, kinds, strict=True) if kind == "function"}
    page = PAGE.read_text(encoding="utf-8")
    assert functions == set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE))
    assert all(f"`{name}`" in page or f"gs.{name}" in page or name in functions for name in gs.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'tunes'"):
        _ = gs.tunes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = untrained.checkpoint(tmp_path_factory.mktemp("model"), untrained.config("diffusion", training__images=32))
    return gs.load(folder, device="cpu")


def test_sampling_settings_equal_those_given_at_loading(model):
    settings = {"sampler.kind": "heun", "sampler.steps": 3, "family.guidance": 2.0}
    other = model.with_settings(settings)
    drawn = model.sample(4, label="3", seed=7, sampler="heun", steps=3, guidance=2.0)
    assert torch.equal(drawn, other.sample(4, label="3", seed=7))
    assert not torch.equal(drawn, model.sample(4, label="3", seed=7))
    assert model.with_settings({}) is model
    assert other.network is model.network
    with pytest.raises(gs.ConfigError, match=r"sampler\.kind: 'hoin'"):
        model.sample(1, sampler="hoin")


def test_scores_of_a_models_own_images_are_those_of_its_evaluation(model):
    """The images that an evaluation of the training draws, scored from outside."""
    from gensweep.noise import Noise
    from gensweep.training.evaluation import sample_labels

    n = model.config.flat()["evaluation.samples"]
    labels = sample_labels(model.checkpoint.class_counts, Noise(0, torch.arange(n)))
    drawn = torch.cat([model.sample(i + 1, label=model.checkpoint.class_names[c])[i:] for i, c in enumerate(labels)])
    found, expected = model.score(drawn), untrained.score(model).scores
    assert {name: each.identity.samples for name, each in found.items()} == dict.fromkeys(expected, n)
    assert found["fd"].value == pytest.approx(expected["fd"].value, rel=1e-5)


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 1, 8, 8), torch.zeros(3, 3, 8, 8).byte(), torch.zeros(1, 1, 8, 8).byte()]
)
def test_images_that_are_not_like_the_models_are_refused(model, images):
    with pytest.raises(gs.ConfigError, match=r"cannot be scored: pass uint8 \(n, 1, 8, 8\) with n >= 2"):
        model.score(images)


SECRET_STORAGE = "s3://me:hunter2@bucket/sweeps"


@pytest.mark.parametrize(
    "call",
    [
        lambda: gs.tune("quickstart", storage=SECRET_STORAGE),
        lambda: gs.train("ddpm", storage=SECRET_STORAGE),
        lambda: gs.resume("quickstart", storage=SECRET_STORAGE),
        lambda: gs.retry("quickstart", storage=SECRET_STORAGE),
        lambda: gs.resume(f"{SECRET_STORAGE}/quickstart"),
        lambda: gs.retry(f"{SECRET_STORAGE}/quickstart"),
    ],
)
def test_a_storage_with_a_secret_is_refused_before_anything_is_written(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    settings = load_sweep(space_file("quickstart")).as_dict()
    sweep = LoggedSweep("sweeps", "quickstart", settings=json.loads(json.dumps(settings)))
    sweep.start("t0000", config={"seed": 0})
    sweep.end("t0000", "failed", "ValueError: no")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(gs.ConfigError, match="seems to contain a secret") as refused:
        call()
    assert "hunter2" not in str(refused.value)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The folder in which all code of the page has run, and what it printed."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "notebook.py").write_text("\n".join(cells))
    shutil.copyfile(empty_store(), folder / "mlflow.db")
    environment = {key: value for key, value in os.environ.items() if not foreign(key)}
    words = [sys.executable, "notebook.py"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.ray
@pytest.mark.mlflow
def test_the_page_runs_from_top_to_bottom(notebook):
    folder, printed = notebook
    assert "params.optimizer.learning_rate" in printed
    assert "'widht' is not a key of network" in printed
    assert (folder / "verdict.csv").read_text().count("\n") == 3


@pytest.mark.ray
@pytest.mark.mlflow
def test_the_command_draws_the_same_images(notebook):
    folder, _ = notebook
    words = ("--class", "3", "--seed", 7, "--sampler", "heun", "--steps", 4)
    call(folder, "sample", "tiny", "-n", 10, *words, "-o", "drawn")
    files = sorted((folder / "drawn").glob("*.png"))
    best = json.loads(call(folder, "best", "tiny", "--format", "json").out)
    model = gs.load(best["checkpoint"])
    images = model.sample(10, label="3", seed=7, sampler="heun", steps=4, batch_size=3)
    assert [np.asarray(Image.open(file)).tolist() for file in files] == images[:, 0].tolist()
