"""`gensweep tune`: what is refused, and what --retry asks of the sweep."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from logged import LoggedSweep

from gensweep.api import sweeps
from gensweep.cli.main import run
from gensweep.config import load_sweep
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.retrying import Retry
from gensweep.sweep.storage import held_storage

SPACE = "search_spaces/dcgan.yaml"
DONE = SimpleNamespace(exit_code=0)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A sweep with a finished and a failed trial, and what `tune` asks for instead of running it."""
    settings = load_sweep(SPACE, overrides=["name=a"]).as_dict()
    sweep = LoggedSweep(tmp_path, "a", settings=json.loads(json.dumps(settings)))
    for trial, status in (("t0000", "finished"), ("t0001", "failed")):
        sweep.start(trial)
        sweep.evaluate(trial, 100, 1.0)
        sweep.end(trial, status)
    sweep.close()
    calls = []
    monkeypatch.setattr(sweeps, "run_sweep", lambda sweep, **asked: calls.append((sweep, asked)) or DONE)
    return calls


def tune(tmp_path, *words):
    return run(["tune", "--sweeps", str(tmp_path), *words])


def test_trials_and_settings_are_passed_on(tmp_path, asked):
    words = ("t0001", "--set", "resources.retries=7", "--set", "evaluation.batch_size=50")
    assert tune(tmp_path, "--retry", "a") == tune(tmp_path, "--retry", "a", *words) == 0
    (_, all_of_them), (sweep, one) = asked
    assert all_of_them["retry"] == Retry()
    assert one["retry"] == Retry(("t0001",), {"evaluation.batch_size": 50})
    assert sweep.resources.retries == 7


def test_a_sweep_is_tried_again_from_where_it_is_stored(tmp_path, asked):
    settings, storage = load_sweep(SPACE, overrides=["name=a"]).as_dict(), str(tmp_path / "stored")
    with held_storage(SweepFolder(tmp_path, "a"), storage, settings):
        pass
    assert tune(tmp_path / "there", "--retry", f"{storage}/a", "t0001") == 0
    ((sweep, again),) = asked
    assert (sweep.name, again["storage"], again["retry"]) == ("a", storage, Retry(("t0001",)))
    assert SweepFolder(tmp_path / "there", "a").exists


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--retry", "a", "t0000"), "t0000 is finished, so it cannot be tried again (failed: t0001)"),
        (("--retry", "a", "--set", "training.batch_size=8"), "would change what the trials are compared by"),
        (("--retry", "a", "--resume", "a"), "exclude each other"),
        (("--retry", "a", "--smoke"), "goes on with the settings"),
        (("--resume", "a", "--set", "resources.retries=1"), "--retry takes --set"),
        (("--retry", "b"), "there is no sweep 'b'"),
        ((SPACE, "t0001"), "trials are for: --retry NAME TRIAL"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(tmp_path, asked, capsys, words, message):
    assert tune(tmp_path, *words) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert asked == []


def test_a_space_for_gpus_names_its_scale_for_the_processor_before_anything_starts(
    tmp_path, asked, monkeypatch, capsys
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert tune(tmp_path, "ddpm") == tune(tmp_path, "ddpm", "--dry-run") == 2
    line = (
        "Error: ddpm-cifar10 asks for 1 GPU a worker, but this machine has none; to train on its processor: "
        "gensweep tune ddpm --scale cpu"
    )
    assert capsys.readouterr().err.splitlines() == [line, line]
    assert asked == []
    assert tune(tmp_path, "dit", "--scale", "cifar10") == 2
    assert capsys.readouterr().err.endswith("to train on its processor: gensweep tune dit --scale horses\n")
    assert tune(tmp_path, "ddpm", "--set", "training.batch_size=32") == 2
    assert capsys.readouterr().err.endswith("gensweep tune ddpm --set training.batch_size=32 --scale cpu\n")
    assert tune(tmp_path, "ddpm", "--scale", "cpu") == 0
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert tune(tmp_path, "ddpm") == 0


@pytest.mark.parametrize(
    ("words", "batch"),
    [
        (("meanflow",), 16),  # has a queue of seven trials
        (("vdm", "--scale", "cpu", "--set", "search.scheduler.grace=10000", "--set", "search.warm_start=[old]"), 16),
        (
            (
                "sngan",
                "--scale",
                "cpu",
                "--set",
                "training={batch_size: 96, accumulation: 24}",
                "--set",
                "resources.workers={max: 3}",
            ),
            18,
        ),
    ],
)
def test_a_smoke_test_is_one_tiny_trial_of_whatever_can_be_swept(tmp_path, asked, monkeypatch, words, batch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    assert tune(tmp_path, *words, "--smoke") == 0
    ((sweep, _),) = asked
    assert (sweep.name.endswith("-smoke"), sweep.search.trials) == (True, 1)
    assert (sweep.search.enqueue, sweep.search.warm_start, sweep.search.scheduler.kind) == ((), (), "fifo")
    assert sweep.as_dict()["base"]["training"]["batch_size"] == batch
    folder = SweepFolder(tmp_path, sweep.name)
    folder.create({"sweep": sweep.as_dict()})
    assert tune(tmp_path, *words, "--smoke") == 0
    assert not folder.exists


def test_a_smoke_test_takes_the_place_of_no_other_sweep(tmp_path, asked, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    folder = SweepFolder(tmp_path, "vdm-cifar10-cpu-smoke")
    folder.create({"sweep": load_sweep("search_spaces/vdm.yaml").as_dict()})
    assert tune(tmp_path, "vdm", "--scale", "cpu", "--smoke") == 2
    assert "holds another sweep, which would be lost" in capsys.readouterr().err
    assert folder.exists
    assert asked == []


@pytest.mark.parametrize("option", ["--resume", "--extend", "--repeat", "--retry"])
def test_nothing_goes_on_that_was_only_scored_here(tmp_path, capsys, option):
    LoggedSweep(tmp_path, "photos", settings={"base": {"family": {"kind": "folder", "path": "/photos"}}})
    assert tune(tmp_path, option, "photos", *(("--trials", "3") if option == "--extend" else ())) == 2
    assert capsys.readouterr().err.startswith("Error: photos was only scored here (/photos): there is no training")
