"""`gensweep train`: what the sweep of one trial is called."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gensweep.api import sweeps
from gensweep.cli.main import run

TRIAL = "family: {kind: gan}\n"


@pytest.fixture
def started(tmp_path, monkeypatch):
    """The names of the sweeps that are started instead of being run."""
    names = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sweeps, "run_sweep", lambda sweep, **_: names.append(sweep.name) or SimpleNamespace(exit_code=0)
    )
    return names


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("config", "config-train"),
        ("données", "donn-es-train"),
        ("画像", "train"),
        ("x" * 70, "x" * 58 + "-train"),
    ],
)
def test_a_file_of_any_name_gives_a_name(started, tmp_path, stem, name):
    (tmp_path / f"{stem}.yaml").write_text(TRIAL)
    assert run(["train", f"{stem}.yaml"]) == 0
    assert run(["train", f"{stem}.yaml", "--name", "mine"]) == 0
    assert started == [name, "mine"]
