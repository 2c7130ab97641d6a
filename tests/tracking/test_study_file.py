"""optuna.db has the ended trials of a sweep."""

from __future__ import annotations

import sqlite3

import optuna
import pytest
from logged import LoggedSweep
from sqlalchemy.pool import NullPool
from trivial_sweeps import numbered

from gensweep.results import Cost
from gensweep.tracking.study_file import StudyFile

pytestmark = pytest.mark.mlflow  # a database of its own for each test


def play(sweep):
    """Trials that finished, were pruned, failed and run."""
    for number in range(4):
        sweep.start(f"t000{number}", {"x": number / 8})
        sweep.evaluate(f"t000{number}", 100, 5.0 - number, cost=Cost(images=100, flops=7.0))
    sweep.end("t0001", "pruned")
    sweep.evaluate("t0000", 400, 4.5, cost=Cost(images=400, flops=28.0))
    sweep.end("t0000")
    sweep.end("t0002", "failed", "ValueError: no")


def write(sweep):
    follower = StudyFile(sweep.folder, numbered)
    while follower.catch_up():
        pass


def read(sweep):
    def connect():
        return sqlite3.connect(sweep.folder.optuna)  # whose path may hold characters that a URL does not take

    # Without a pool, which would keep connections open.
    storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool})
    study = optuna.load_study(study_name=sweep.folder.name, storage=storage)
    return study, [(each.state.name, each.values, each.params, each.user_attrs) for each in study.trials]


def test_it_has_what_the_dashboard_shows(tmp_path):
    sweep = LoggedSweep(tmp_path)
    play(sweep)
    write(sweep)
    study, _ = read(sweep)
    assert study.metric_names == ["fd"]
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    pruned, finished, failed = study.trials
    assert [trial.state.name for trial in (pruned, finished, failed)] == ["PRUNED", "COMPLETE", "FAIL"]
    assert (finished.values, finished.intermediate_values) == ([4.5], {100: 5.0, 400: 4.5})
    assert pruned.params == {"x": 0.125}
    expected = {"run": "a/t0001", "cost/images": 100, "cost/flops": 7.0}
    assert pruned.user_attrs == expected


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage"])
def test_a_file_that_is_not_the_sweeps_is_written_anew(tmp_path, damage):
    sweep = LoggedSweep(tmp_path / "50% of? it's 'ü' #1")
    play(sweep)
    write(sweep)
    file, (_, expected) = sweep.folder.optuna, read(sweep)
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "garbage":
            file.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
    write(sweep)
    assert read(sweep)[1] == expected


def test_it_is_the_same_however_often_the_driver_dies(tmp_path):
    sweep, again = LoggedSweep(tmp_path / "one"), LoggedSweep(tmp_path / "other")
    play(sweep)
    content = sweep.folder.log.file.read_bytes().splitlines(keepends=True)
    for cut in (1, 5, 8, 9, 11, len(content)):
        again.folder.log.file.write_bytes(b"".join(content[:cut]))
        write(again)
    write(sweep)
    assert read(again)[1] == read(sweep)[1]
