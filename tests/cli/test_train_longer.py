"""`gensweep train --continue-from`: a training that goes on beyond its end; only Ray is left out."""

import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from typed_commands import call
from without_ray import run_without_ray

from gensweep.api import running
from gensweep.sweep.folder import SweepFolder
from gensweep.training import trial
from gensweep.training.learner_state import restore

pytestmark = [pytest.mark.mlflow, pytest.mark.trains]

SMALL = """\
seed: 3
data: {kind: digits, size: 8}
family: {kind: diffusion}
network: {kind: cnn, width: 8, depth: 2}
diffusion: {timesteps: 20}
sampler: {kind: ddim, steps: 4}
training: {images: 128, batch_size: 16, precision: float32, memory_format: contiguous}
evaluation: {samples: 16, batch_size: 16, at: [], extractor: {resolution: 32}}
"""
TWICE = "training.images=256"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a training has ended, and another one that is twice as long."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.yaml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "run_plan", run_without_ray)
        call(folder, "train", "small.yaml", "--name", "half")
        call(folder, "train", "small.yaml", "--name", "whole", "--set", TWICE, "--set", "evaluation.at=[0.75]")
    return folder


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(running, "run_plan", run_without_ray)


def state_in(folder, name, images):
    return load_file(folder / "sweeps" / name / "checkpoints" / "t0000" / images / "state.safetensors")


def change(folder, copy, edit):
    """A copy of the checkpoint, which says something else."""
    shutil.copytree(folder / "sweeps" / "half" / "checkpoints" / "t0000" / f"{128:012d}", copy, dirs_exist_ok=True)
    record = json.loads((copy / "checkpoint.json").read_text())
    edit(record)
    (copy / "checkpoint.json").write_text(json.dumps(record))


def scores(trial):
    return {images: each.evaluation.scores["fd"] for images, each in trial.evaluations.items()}


@pytest.mark.parametrize("run", ["half", "sweeps/half/checkpoints/t0000/000000000128"])
def test_a_training_goes_on_as_if_it_had_been_longer_from_the_start(folder, run, monkeypatch):
    began = []
    monkeypatch.setattr(trial, "restore", lambda learner, state: began.append(len(state)) or restore(learner, state))
    name = f"longer-{run.count('/')}"
    call(folder, "train", "--continue-from", run, "--set", TWICE, "--set", "evaluation.at=[0.75]", "--name", name)
    assert len(began) == 1
    (longer,) = SweepFolder(folder / "sweeps", name).state().trials.values()
    assert (longer.status, longer.images) == ("finished", 256)
    (half,), (whole,) = (SweepFolder(folder / "sweeps", each).state().trials.values() for each in ("half", "whole"))
    known = scores(half) if run == "half" else {}  # of a folder nobody knows what came before it
    assert scores(longer) == {**known, **scores(whole)}
    assert longer.cost.flops == whole.cost.flops
    (kept,) = (folder / "sweeps" / name / "checkpoints" / "t0000").iterdir()
    found, expected = state_in(folder, name, kept.name), state_in(folder, "whole", kept.name)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert state_in(folder, "half", f"{128:012d}")  # which is of use as before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "was trained with 128 images; set a larger number, for example --set training.images=256"),
        (["training.images=128"], "training.images"),
        (["training.images=256", "training.device_seconds=5"], "training.images"),
        ([TWICE, "optimizer.learning_rate=0.5"], "optimizer.learning_rate: a continued training keeps its settings"),
        ([TWICE, "training.batch_size=8"], "training.batch_size: a continued training keeps its settings,"),
        ([TWICE, "seed=4"], "seed: a continued training"),
    ],
)
def test_what_would_be_another_training_is_refused(folder, changes, words):
    given = [f"--set={change}" for change in changes]
    assert words in call(folder, "train", "--continue-from", "half", *given, "--name", "x", code=2).err
    assert not (folder / "sweeps" / "x").exists()


@pytest.mark.parametrize("bounded", [{"images": 10**12, "device_seconds": 5.0}, {"images": 500}])
def test_a_length_must_be_given_whatever_the_training_was_to_have(folder, tmp_path, bounded):
    change(folder, tmp_path, lambda record: record["metadata"]["training"].update(bounded))
    assert "set a larger number" in call(folder, "train", "--continue-from", tmp_path, code=2).err


def test_other_images_than_those_of_the_training_are_refused(folder, tmp_path):
    change(folder, tmp_path, lambda record: record["class_counts"].__setitem__(0, 7))
    assert "with the same images" in call(folder, "train", "--continue-from", tmp_path, "--set", TWICE, code=2).err


def test_weights_alone_are_refused(folder, tmp_path):
    save_file({"networks/denoiser/x": torch.zeros(1)}, tmp_path / "weights")
    digest = hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest()
    change(folder, tmp_path, lambda record: record.update(sha256=digest))
    (tmp_path / "weights").rename(tmp_path / "state.safetensors")
    assert "no optimizer state" in call(folder, "train", "--continue-from", tmp_path, "--set", TWICE, code=2).err
