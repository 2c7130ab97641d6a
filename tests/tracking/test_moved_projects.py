"""A project folder that was moved or copied: everything in it is found, and nothing is written into the original."""

import hashlib
import shutil
import sqlite3
from pathlib import Path
from urllib.parse import unquote

import pytest
from logged import LoggedSweep
from made_up import mlflow_store
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from gensweep.errors import GensweepError
from gensweep.sweep.checkpoints import checkpoint_uri
from gensweep.tracking.relocation import DATABASE_FOLDER, follow
from gensweep.tracking.runs import checkpoint_folder, find_trial
from gensweep.tracking.store import client
from gensweep.tracking.sync import sync_all

pytestmark = pytest.mark.mlflow


def contents(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.endswith(".lock")
    }


@pytest.fixture
def original(tmp_path):
    """A project with a sweep of two trials, whose best checkpoint is a model in MLflow."""
    folder = tmp_path / "original"
    folder.mkdir()
    with mlflow_store(folder):
        sweep = LoggedSweep(folder / "sweeps", "moved", trials=2)
        for number, trial in enumerate(("t0000", "t0001")):
            sweep.start(trial, {}, {"family": {"kind": "gan"}})
            made = checkpoint_uri(str(sweep.folder.path), trial, 100)
            Path(made).mkdir(parents=True)
            (Path(made) / "checkpoint.json").write_text("{}")
            sweep.evaluate(trial, 100, 5.0 - number, made)
            sweep.end(trial)
        sweep.file()
    _artifact_repos_cache.clear()  # by run: in another process, as in a copy, there is nothing in it
    return folder


@pytest.mark.parametrize("name", ["old", "old runs"])
def test_a_project_that_was_moved_into_a_folder_of_its_own_finds_its_files(original, name, monkeypatch):
    inside = original / name
    inside.mkdir()
    for part in ("mlflow.db", "mlruns", "sweeps"):
        (original / part).rename(inside / part)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{inside / 'mlflow.db'}")
    monkeypatch.setenv("GENSWEEP_CACHE", str(inside / "cache"))
    assert sync_all(inside / "sweeps") == []
    assert [trial.objective.value for trial in map(find_trial, ("moved/t0000", "moved/t0001"))] == [5.0, 4.0]
    with sqlite3.connect(inside / "mlflow.db") as database:
        places = [place for (place,) in database.execute("SELECT artifact_uri FROM runs")]
    assert all(unquote(place).count(f"/{name}/") == 1 for place in places)


def test_of_two_commands_that_find_a_moved_database_one_alone_changes_it(original):
    database = original / "old" / "mlflow.db"
    database.parent.mkdir()
    (original / "mlflow.db").rename(database)
    with sqlite3.connect(database) as opened:
        (experiment,) = opened.execute(
            "SELECT experiment_id FROM experiment_tags WHERE key = ?", (DATABASE_FOLDER,)
        ).fetchone()
    for _ in range(2):  # both have read the former folder before either was done
        follow(database, original, str(experiment))
    with sqlite3.connect(database) as opened:
        places = [place for (place,) in opened.execute("SELECT artifact_uri FROM runs")]
    assert [Path(place).is_relative_to(database.parent / "mlruns") for place in places] == [True] * 3


@pytest.mark.parametrize("away", [False, True], ids=["original present", "original gone"])
def test_a_copy_finds_its_own_files_and_goes_on_without_touching_the_original(original, tmp_path, away, monkeypatch):
    copy, before = tmp_path / "copy", contents(original)
    shutil.copytree(original, copy)
    if away:
        original = original.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy / 'mlflow.db'}")
    monkeypatch.setenv("GENSWEEP_CACHE", str(copy / "cache"))
    assert sync_all(copy / "sweeps") == []
    for trial in ("t0000", "t0001"):
        assert checkpoint_folder(f"moved/{trial}").is_relative_to(copy)
    sweep = LoggedSweep("sweeps", "moved")
    assert all(sweep.folder.resolve(uri).startswith(str(copy)) for uri in sweep.folder.state().useful_checkpoints)
    sweep.start("t0002", {}, {"family": {"kind": "gan"}})
    made = checkpoint_uri(str(sweep.folder.path), "t0002", 100)
    shutil.copytree(sweep.folder.path / "checkpoints" / "t0000", copy / "sweeps/moved/checkpoints/t0002")
    sweep.evaluate("t0002", 100, 1.0, made)
    sweep.end("t0002")
    sweep.file()
    assert find_trial("moved").trial == "t0002"
    run = client().get_run(find_trial("moved").run_id)
    assert str(tmp_path / "original") not in run.info.artifact_uri + str(run.data.tags)
    assert contents(original) == before


def test_a_copy_that_shares_a_server_with_its_original_is_told_so(original, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(original / "sweeps", copy / "sweeps")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{original / 'mlflow.db'}")
    monkeypatch.setenv("GENSWEEP_CACHE", str(copy / "cache"))
    (note,) = sync_all(copy / "sweeps")
    assert "is a copy of" in note
    assert "MLFLOW_TRACKING_URI" in note


def test_sweeps_that_were_moved_alone_are_found_once_they_are_named(original, tmp_path, monkeypatch):
    monkeypatch.chdir(original)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{original / 'mlflow.db'}")
    monkeypatch.setenv("GENSWEEP_CACHE", str(original / "cache"))
    (original / "sweeps").rename(tmp_path / "sweeps")
    with pytest.raises(GensweepError, match="gensweep trials moved --sweeps FOLDER"):
        checkpoint_folder("moved/t0000")
    assert sync_all(tmp_path / "sweeps") == []
    assert checkpoint_folder("moved/t0000").is_relative_to(tmp_path / "sweeps")
