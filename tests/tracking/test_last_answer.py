"""Commands that need not ask MLflow show what it would say, and whatever changes its database makes them ask."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_up import diffusion, gan, write_sweep

from gensweep.api.filed_reports import file_reports
from gensweep.cli.main import run
from gensweep.sweep.events import SessionEnded
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking.last_answer import last_answer
from gensweep.tracking.runs import find_sweep, load_sweeps
from gensweep.tracking.store import client, current_uri, remember_runs, stored_runs
from gensweep.tracking.sync import sync_all

#: Runs a command, and fails if that has imported what takes long.
WITHOUT_MLFLOW = """
import sys
from gensweep.cli.main import run
assert run(sys.argv[1:]) == 0
assert not {"mlflow", "torch", "sklearn", "scipy.stats"} & sys.modules.keys()
"""


@pytest.fixture(scope="module")
def sweeps(store):
    write_sweep(store, "one", diffusion, 4, rungs=2)
    write_sweep(store, "two", gan, 4, seed=1, rungs=2)
    file_reports(load_sweeps())
    return store


@pytest.fixture
def known(sweeps, monkeypatch):
    """An answer that was kept, in a process that has not imported MLflow."""
    remember_runs()
    monkeypatch.setattr("gensweep.tracking.last_answer.sys", SimpleNamespace(modules={}))
    answer = last_answer()
    assert answer is not None
    return answer


def test_the_last_answer_is_what_the_store_says(known, monkeypatch):
    assert (current_uri(), stored_runs()) == (known.uri, known.runs)
    monkeypatch.undo()
    assert stored_runs() == known.runs
    assert {run.tags["gensweep.sweep"] for run in known.runs} == {"one", "two"}


@pytest.mark.parametrize(
    "words",
    [["trials", "one"], ["trials"], ["best", "one"], ["best", "--compare"]],
    ids=" ".join,
)
def test_commands_say_the_same_without_importing_mlflow(known, capsys, words):
    words = [*words, "--format", "json"]
    light = subprocess.run([sys.executable, "-c", WITHOUT_MLFLOW, *words], capture_output=True, text=True, check=False)
    assert light.returncode == 0, light.stderr
    for file in (Path("cache") / "mlflow").iterdir():
        file.unlink()
    capsys.readouterr()
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(light.stdout)


def test_a_log_that_has_grown_is_sent_although_the_store_is_as_it_was(known):
    folder = SweepFolder(write_sweep(Path.cwd(), "grown", gan, 1, rungs=1).parent, "grown")
    remember_runs()
    folder.log.append(SessionEnded("finished"))
    assert last_answer() is not None
    assert sync_all(folder.path.parent) == []
    tags = client().get_run(find_sweep("grown").run_id).data.tags
    assert int(tags["gensweep.position"]) == folder.log.size


def tagged(database):
    client().set_tag(find_sweep("one").run_id, "gensweep.status", "failed")


def deleted(database):
    client().delete_run(find_sweep("one").trials[0].run_id)


def written_by_others(database):
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("UPDATE tags SET value = 'pruned' WHERE value = 'finished'")


def put_back(database):
    shutil.copyfile("backup.db", database)


def gone(database):
    database.unlink()


def garbled(database):
    database.write_bytes(b"garbage " * 1000)


def in_another_mode(database):
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA journal_mode=WAL")


def elsewhere(database):
    Path("elsewhere").mkdir(exist_ok=True)
    database.rename("elsewhere/mlflow.db")


@pytest.mark.parametrize(
    "change",
    [tagged, deleted, written_by_others, put_back, gone, garbled, in_another_mode, elsewhere],
    ids=lambda change: change.__name__,
)
def test_after_any_change_of_the_database_mlflow_is_asked(known, change):
    database = Path("mlflow.db")
    shutil.copyfile(database, "backup.db")
    try:
        change(database)
        assert last_answer() is None
    finally:
        shutil.copyfile("backup.db", database)


def test_another_store_or_experiment_or_folder_has_another_answer(known, monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
        assert last_answer() is None
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/another.db")
        assert last_answer() is None
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        assert last_answer() is None
