"""`gensweep new`: what cannot be a plug-in is refused before anything is written, and what comes next can be pasted."""

from __future__ import annotations

import pytest

from gensweep.cli.main import run


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("schedule", "linear", "'linear' is already a schedule; choose another name, such as my_linear"),
        ("schedule", "class", "'class' cannot name a Python module"),
        ("schedule", "json", "'json' is already an installed module"),
    ],
)
def test_names_that_no_plug_in_can_have_are_refused(tmp_path, monkeypatch, capsys, kind, name, words):
    monkeypatch.chdir(tmp_path)
    assert run(["new", kind, name]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
