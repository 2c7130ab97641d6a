"""Sweeps as things: listed, renamed and removed, in folders and in a bucket."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from logged import LoggedSweep
from storage_driver import driving

from gensweep.cli.main import run
from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.folder import SweepFolder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the finished sweep `done`, whose only checkpoint has 3,000 bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    finished("done", tmp_path)
    return tmp_path


def finished(name, folder):
    sweep = LoggedSweep(folder / "sweeps", name)
    made = folder / "made"
    made.mkdir(exist_ok=True)
    (made / "weights").write_bytes(bytes(3000))
    (made / "checkpoint.json").write_text("{}")
    sweep.start("t0000", {"x": 1})
    sweep.evaluate("t0000", 100, 4.0, made)
    sweep.end("t0000")
    sweep.close()
    return sweep.folder


def listed(capsys, *words):
    assert run(["sweeps", *words, "--format", "json"]) == 0
    return {each["name"]: each for each in json.loads(capsys.readouterr().out)}


def test_every_sweep_has_its_best_score_and_size(here, capsys):
    finished("other", here)
    found = listed(capsys)
    assert set(found) == {"done", "other"}
    assert found["done"]["best"] == {"trial": "t0000", "value": 4.0}
    assert found["done"]["trials"] == {"finished": 1}
    assert 3000 <= found["done"]["checkpoint_bytes"] < found["done"]["bytes"]


def test_the_table_names_status_best_and_age(here, capsys):
    assert run(["sweeps"]) == 0
    out, err = capsys.readouterr()
    assert all(word in out for word in ("done", "finished", "fd 4 (t0000)", "1/1", "KiB"))
    assert "1 sweep" in err


def test_a_removal_asks_and_a_no_keeps_all(here, capsys, monkeypatch):
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda text: "n")
    assert run(["rm", "done"]) == 130
    assert "done" in listed(capsys)


def test_a_removed_sweep_leaves_nothing(here, capsys):
    assert run(["rm", "done", "--yes"]) == 0
    assert "KiB freed" in capsys.readouterr().err
    assert list((here / "sweeps").iterdir()) == []


def test_removed_checkpoints_leave_scores(here, capsys):
    assert run(["rm", "done", "--checkpoints", "--yes"]) == 0
    assert listed(capsys)["done"]["checkpoint_bytes"] == 0
    assert listed(capsys)["done"]["best"]["value"] == 4.0


def test_checkpoints_of_unfinished_trials_stay(here, capsys):
    sweep = LoggedSweep(here / "sweeps", "half", trials=2)
    sweep.start("t0000")
    sweep.evaluate("t0000", 100, 4.0, here / "made")
    sweep.close("interrupted")
    assert run(["rm", "half", "--checkpoints", "--yes"]) == 2
    assert "--resume half" in capsys.readouterr().err
    assert listed(capsys)["half"]["checkpoint_bytes"] >= 3000


@pytest.mark.parametrize("command", [("rm", "going", "--yes"), ("mv", "going", "gone")])
def test_a_running_sweep_is_refused(here, capsys, command):
    sweep = LoggedSweep(here / "sweeps", "going")
    with sweep.folder.locked():
        assert run(command) == 1
        assert "running" in capsys.readouterr().err
        assert sweep.folder.exists


def test_a_renamed_sweep_has_its_settings_and_scores(here, capsys):
    assert run(["mv", "done", "kept"]) == 0
    folder = SweepFolder(here / "sweeps", "kept")
    assert folder.settings["sweep"]["name"] == "kept"
    assert folder.state().best.name == "kept/t0000"
    assert folder.state().best.checkpoint is not None
    assert set(listed(capsys)) == {"kept"}


@pytest.mark.parametrize("name", ["other", "../up", ""])
def test_a_taken_or_unsafe_name_changes_nothing(here, capsys, name):
    finished("other", here)
    assert run(["mv", "done", name]) == 2
    assert set(listed(capsys)) == {"done", "other"}


@pytest.fixture
def stored(here, s3):
    """The URL of a storage with the sweep `a`, which has ended."""
    storage = s3.url(f"sweeps-{uuid4().hex[:6]}")
    with driving(here / "sweeps", storage) as driver:
        trial = driver.begin()
        driver.evaluate(trial.trial, 100, 4.0)
        driver.session.ended(trial.trial, {"finished": True})
    return storage


def files(storage):
    return set(RemoteFolder(storage).files())


def test_a_storage_is_listed_from_another_folder(stored, here, capsys):
    found = listed(capsys, stored, "--sweeps", str(here / "nowhere"))
    assert found["a"]["best"]["value"] == 4.0
    assert found["a"]["checkpoint_bytes"] > 0


def test_a_sweep_that_runs_elsewhere_is_listed_as_running(here, capsys, s3):
    storage = s3.url(f"sweeps-{uuid4().hex[:6]}")
    with driving(here / "far" / "sweeps", storage) as driver:
        driver.begin()
        driver.held.sync._copy.push()
        assert listed(capsys, storage)["a"]["status"] == "running"


@pytest.mark.parametrize("by_url", [False, True])
def test_a_removal_empties_the_storage(stored, here, by_url):
    assert run(["rm", below(stored, "a") if by_url else "a", "--yes"]) == 0
    assert files(stored) == set()


def test_removed_checkpoints_leave_the_log_in_the_storage(stored):
    assert run(["rm", "a", "--checkpoints", "--yes"]) == 0
    assert not any("/checkpoints/" in name for name in files(stored))
    assert "a/owner.json" in files(stored)


@pytest.mark.parametrize("by_url", [False, True])
def test_a_sweep_is_renamed_in_its_storage(stored, here, capsys, by_url):
    before = {name.removeprefix("a/") for name in files(stored)}
    assert run(["mv", below(stored, "a") if by_url else "a", "b"]) == 0
    assert {name.removeprefix("b/") for name in files(stored)} == before
    found = listed(capsys, stored)
    assert found["b"]["best"]["value"] == 4.0


@pytest.mark.parametrize(
    "step", ["RemoteFolder.copy", "RemoteFolder.upload", "RemoteFolder.delete_all", "SweepFolder.create"]
)
@pytest.mark.parametrize("done", [False, True])
def test_the_same_command_finishes_an_interrupted_renaming(stored, here, capsys, monkeypatch, step, done):
    owner, name = step.split(".")
    owner = {"RemoteFolder": RemoteFolder, "SweepFolder": SweepFolder}[owner]
    whole, before = getattr(owner, name), {each.removeprefix("a/") for each in files(stored)}

    def interrupted(*arguments, **options):
        if done:
            whole(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupted)
        assert run(["mv", "a", "b"]) != 0
    assert run(["mv", "a", "b"]) == 0
    assert {each.removeprefix("b/") for each in files(stored)} == before
    capsys.readouterr()
    assert listed(capsys, stored)["b"]["best"]["value"] == 4.0
    assert SweepFolder(here / "sweeps", "b").settings["sweep"]["name"] == "b"


def test_a_sweep_that_another_machine_runs_is_refused(stored, capsys):
    remote = RemoteFolder(below(stored, "a"))
    record = json.loads(remote.read("owner.json")) | {"folder": "another", "released": False}
    remote.write("owner.json", json.dumps(record).encode())
    before = files(stored)
    assert run(["rm", "a", "--yes"]) == 1
    assert "is in use by a driver" in capsys.readouterr().err
    assert files(stored) == before


def test_nothing_is_removed_while_the_storage_is_away(stored, here, capsys, s3, monkeypatch):
    monkeypatch.setattr("gensweep.sweep.housekeeping.START_PATIENCE", 0)
    s3.trouble = "503"
    assert run(["rm", "a", "--yes"]) == 1
    assert "nothing was removed" in capsys.readouterr().err
    assert SweepFolder(here / "sweeps", "a").exists
