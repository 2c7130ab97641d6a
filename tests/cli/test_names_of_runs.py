"""A name that a run and a folder share means the run, in every command that takes either; ./NAME is the folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gensweep.cli.main import run
from gensweep.errors import GensweepError

FAST = ("--samples", "8", "--permutations", "19", "--levels", "1")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A sweep `tiny` of one trial, and a folder `tiny` that looks like a checkpoint and is none."""
    import untrained
    from logged import LoggedSweep
    from made_up import project

    with project(tmp_path_factory.mktemp("store")) as folder:
        trial = untrained.config("diffusion", sampler__steps=1, network={"kind": "cnn", "width": 8, "depth": 2})
        sweep = LoggedSweep(folder / "sweeps", "tiny")
        made = untrained.checkpoint(sweep.folder.path / "checkpoints" / "t0000", trial)
        sweep.start("t0000", {}, trial.as_dict())
        sweep.evaluate("t0000", 32, 9.0, made)
        sweep.end("t0000")
        sweep.close()
        (folder / "tiny").mkdir()
        (folder / "tiny" / "checkpoint.json").write_text("{}")
        yield folder


@pytest.mark.parametrize(
    "command",
    [
        ("sample", "-n", "1", "-o", "drawn/one.png"),
        ("evaluate", "--samples", "2"),
        ("export", "--to", "safetensors", "-o", "exported"),
        ("interpret", *FAST, "--class", "3", "-o", "page"),
        ("finetune", "--class", "3", "--name", "few"),
    ],
    ids=lambda command: command[0],
)
def test_each_command_takes_the_run(store, monkeypatch, capsys, command):
    monkeypatch.setattr("gensweep.api.sweeps.tune", lambda sweep, **_: SimpleNamespace(exit_code=0))
    name, *options = command
    assert run([name, "tiny", *options]) == 0, capsys.readouterr().err
    for folder in ("./tiny", "tiny/"):
        options = [each.replace("exported", "other") for each in options]
        assert run([name, folder, *options]) != 0
        assert "checkpoint.json" in capsys.readouterr().err


def test_from_python_a_path_is_a_folder(store):
    import gensweep as gs

    assert gs.load("tiny").sample(1).shape == (1, 1, 8, 8)
    with pytest.raises(GensweepError, match=r"checkpoint\.json"):
        gs.load(Path("tiny"))
