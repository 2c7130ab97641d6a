"""`gensweep tune`: what is refused, and what --retry asks of the sweep."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from logged import LoggedSweep

from gensweep.api import sweeps
from gensweep.cli.main import run
from gensweep.config import load_sweep

SPACE = "search_spaces/dcgan.yaml"
DONE = SimpleNamespace(exit_code=0)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A sweep with a finished and a failed trial, and what `tune` asks for instead of running it."""
    settings = load_sweep(SPACE, overrides=["name=a"]).as_dict()
    sweep = LoggedSweep(tmp_path, "a", settings=json.loads(json.dumps(settings)))
    for trial, status in (("t0000", "finished"), ("t0001", "failed")):
        sweep.start(trial, config={"seed": 0})
        sweep.evaluate(trial, 100, 1.0)
        sweep.end(trial, status)
    sweep.close()
    calls = []
    monkeypatch.setattr(sweeps, "run_sweep", lambda sweep, **asked: calls.append((sweep, asked)) or DONE)
    return calls


def tune(tmp_path, *words):
    return run(["tune", "--sweeps", str(tmp_path), *words])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--retry", "a", "t0000"), "t0000 did not fail in a (failed: t0001)"),
        (("--retry", "a", "--set", "training.batch_size=8"), "would make the scores of trials incomparable"),
        (("--retry", "a", "--resume", "a"), "exclude each other"),
        (("--retry", "a", "--dry-run"), "keeps the settings of its start"),
        (("--resume", "a", "--set", "resources.retries=1"), "--retry allows --set"),
        (("--retry", "b"), "there is no sweep 'b'"),
        ((SPACE, "--price", "2.50"), "such as 2.50/h or 2.50EUR/h, but got '2.50'"),
        (("--resume", "a", "--price", "2/h"), "keeps the settings of its start"),
        ((SPACE, "t0001"), "to name trials: --retry NAME TRIAL"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(tmp_path, asked, capsys, words, message):
    assert tune(tmp_path, *words) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert asked == []


def test_a_space_for_gpus_names_its_scale_for_a_cpu(tmp_path, asked, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert tune(tmp_path, "ddpm") == tune(tmp_path, "ddpm", "--dry-run") == 2
    line = (
        "Error: ddpm-cifar10 needs 1 GPU per worker, but this machine has none; to train on its CPU: "
        "gensweep tune ddpm --scale cpu"
    )
    assert capsys.readouterr().err.splitlines() == [line, line]
    assert asked == []
    assert tune(tmp_path, "ddpm", "--scale", "cpu") == 0
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert tune(tmp_path, "ddpm") == 0


@pytest.mark.parametrize("option", ["--resume", "--extend", "--repeat", "--retry"])
def test_nothing_goes_on_that_was_only_scored_here(tmp_path, capsys, option):
    LoggedSweep(tmp_path, "photos", settings={"base": {"family": {"sha256": "0", "path": "/photos"}}})
    assert tune(tmp_path, option, "photos", *(("--trials", "3") if option == "--extend" else ())) == 2
    assert capsys.readouterr().err.startswith("Error: photos was only scored here (/photos): there is no training")
