"""optuna.db is a view of a sweep's log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

import optuna
import pytest
from logged import LoggedSweep
from trivial_sweeps import numbered

from gensweep.results import Cost
from gensweep.sweep.events import WarmStarted
from gensweep.sweep.state import SweepState
from gensweep.tracking import study_file
from gensweep.tracking.study_file import StudyFile
from gensweep.tracking.view import LogView

pytestmark = pytest.mark.mlflow  # a database of its own for each test
KNOWN = WarmStarted("other", known=[{"params": {"x": 0.5}, "finished": True, "rungs": [(400, 2.0)]}])


def play(sweep):
    """Trials that finished, were pruned, failed and run, a repeat, and one of another sweep."""
    sweep.add(KNOWN)
    for number in range(4):
        sweep.start(f"t000{number}", {"x": number / 8})
        sweep.evaluate(f"t000{number}", 100, 5.0 - number, cost=Cost(images=100, flops=7.0))
    sweep.evaluate("t0000", 400, 4.5, cost=Cost(images=400, flops=28.0))
    sweep.end("t0000")
    sweep.end("t0001", "pruned")
    sweep.end("t0002", "failed", "ValueError: no")


def write(sweep):
    follower = StudyFile(sweep.folder, numbered)
    while follower.catch_up():
        pass
    assert follower.remaining() == 0


def read(sweep):
    study = optuna.load_study(study_name=sweep.folder.name, storage=f"sqlite:///{sweep.folder.optuna}")
    return study, [study_file._contents(trial) for trial in study.trials]


def test_it_has_what_the_dashboard_shows(tmp_path):
    sweep = LoggedSweep(tmp_path)
    play(sweep)
    write(sweep)
    study, _ = read(sweep)
    assert study.metric_names == ["fd"]
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL", "RUNNING"]
    assert [trial.values for trial in study.trials] == [[2.0], [4.5], [4.0], None, None]
    assert study.trials[1].intermediate_values == {100: 5.0, 400: 4.5}
    assert study.trials[2].user_attrs == {"run": "a/t0001", "cost/images": 100, "cost/flops": 7.0}


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "flipped", "of another sweep", "ahead"])
def test_a_file_that_is_not_the_sweeps_is_written_anew(tmp_path, damage):
    sweep = LoggedSweep(tmp_path / "50% of? it's 'ü' #1")
    play(sweep)
    write(sweep)
    file, (_, expected) = sweep.folder.optuna, whole(sweep)
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "garbage":
            file.write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 40)
        case "flipped":
            content = bytearray(file.read_bytes())
            content[4096:12288] = bytes(8192)
            file.write_bytes(content)
        case "of another sweep":
            other = LoggedSweep(tmp_path / "other")
            other.start("t0000", {"x": -0.5})
            write(other)
            file.write_bytes(other.folder.optuna.read_bytes())
        case "ahead":
            with closing(sqlite3.connect(file)) as database, database:
                database.execute("UPDATE trial_values SET value = value + 1")
    write(sweep)
    assert whole(sweep)[1] == expected


def whole(sweep):
    """What is in the file, read without a URL, which has no place for all characters."""
    state = sweep.folder.state()
    study = study_file._load(sweep.folder, state)
    return study, [study_file._contents(trial) for trial in study.trials]


@pytest.mark.parametrize("cuts", [[3], [1, 5, 2], [8, 1, 1, 1, 1, 1]], ids=str)
def test_it_comes_out_the_same_however_often_the_driver_dies(tmp_path, cuts):
    sweep, again = LoggedSweep(tmp_path / "one"), LoggedSweep(tmp_path / "other")
    play(sweep)
    entries = [entry.event for entry in sweep.folder.log.read()]
    again.folder.log.file.unlink()
    for cut in [*cuts, len(entries)]:
        for event in entries[:cut]:
            again.add(event)
        entries = entries[cut:]
        write(again)
    write(sweep)
    assert read(again)[1] == read(sweep)[1]


def test_while_another_process_has_the_file_the_sweep_goes_on_and_it_is_written_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(study_file, "LOCK_TIMEOUT", 0.1)
    sweep = LoggedSweep(tmp_path)
    write(sweep)
    play(sweep)
    with (
        closing(sqlite3.connect(sweep.folder.optuna)) as other,
        closing(LogView("optuna.db", partial(StudyFile, sweep.folder, numbered))) as view,
    ):
        other.execute("BEGIN EXCLUSIVE")
        view(KNOWN, SweepState())
        while "optuna.db does not answer; the log waits" not in caplog.text:
            pass
        assert "database is locked" in caplog.text
        other.rollback()
    assert len(read(sweep)[0].trials) == 5
