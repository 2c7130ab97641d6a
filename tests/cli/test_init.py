"""Search spaces that come with gensweep, by name."""

import pytest

from gensweep.cli.main import run
from gensweep.config import load_sweep
from gensweep.shipped import FOLDER, PURPOSES, SCHEMA_LINE, shipped_spaces


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_spaces_are_listed_by_purpose_with_what_they_ask(capsys):
    assert run(["init"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(shipped_spaces())
    assert [line for line in lines if line and not line.startswith("  ")] == list(PURPOSES)
    assert any(line.endswith("how wide?") for line in lines)
    assert max(map(len, lines)) <= 100


def test_every_shipped_file_has_a_purpose():
    files = shipped_spaces().values()
    assert sorted(files) == sorted(FOLDER.glob("*.yaml"))
    assert len(files) <= 14


def test_a_copy_is_the_same_sweep_with_its_comments(folder, capsys):
    assert run(["init", "quickstart", "-o", "mine.yaml"]) == 0
    assert capsys.readouterr().out.strip() == "mine.yaml"
    shipped = shipped_spaces()["quickstart"]
    assert load_sweep(folder / "mine.yaml").as_dict() == load_sweep(shipped).as_dict()
    text = (folder / "mine.yaml").read_text()
    assert "gensweep tune mine.yaml --dry-run" in text
    assert SCHEMA_LINE in shipped.read_text()
    assert SCHEMA_LINE not in text


def test_nothing_is_overwritten(folder, capsys):
    (folder / "quickstart.yaml").write_text("mine")
    assert run(["init", "quickstart"]) == 2
    assert "quickstart.yaml exists already" in capsys.readouterr().err
    assert (folder / "quickstart.yaml").read_text() == "mine"


@pytest.mark.parametrize("command", [["init"], ["tune", "--dry-run"], ["config", "validate"]])
def test_a_name_that_is_none_gets_a_suggestion(command, capsys):
    assert run([*command, "quikstart"]) == 2
    assert "did you mean 'quickstart'? (known: " in capsys.readouterr().err
