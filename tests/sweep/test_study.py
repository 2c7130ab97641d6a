"""Optuna's study of a sweep is a view of its log."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import optuna
import pytest
from session_driver import Driver

from gensweep.errors import GensweepError
from gensweep.sweep import study


def play(driver):
    """Three trials: one finished, one pruned, one failed; a fourth runs when the driver dies."""
    for number in range(4):
        tune_id = str(number)
        driver.begin(tune_id)
        driver.evaluate(100, 5.0 - number, tune_id=tune_id)
    driver.evaluate(400, 4.5, tune_id="0")
    driver.end("0", finished=True)
    driver.end("1")
    driver.end("2", failure="ValueError: no")


def told(trials):
    return [
        (t.number, t.state, t.params, t.distributions, t.intermediate_values, t.values, t.constraints, t.user_attrs)
        for t in trials
    ]


@pytest.mark.trains
@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "flipped", "of another sweep", "behind", "ahead"])
def test_optunas_study_is_a_view_that_is_made_anew(tmp_path, damage):
    root = tmp_path / "50% of? it's 'ü' #1"
    undamaged = Driver(root, trials=6)
    play(undamaged)
    expected = told(undamaged.told)
    file = undamaged.folder.optuna
    assert file.is_file()
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
            other = Driver(tmp_path / "other", trials=6)
            other.begin()
            file.write_bytes(other.folder.optuna.read_bytes())
        case "behind":
            other = Driver(tmp_path / "other", trials=6)
            file.write_bytes(other.folder.optuna.read_bytes())
        case "ahead":
            undamaged.session.study.ask()
    later = Driver(root, trials=6)
    assert told(later.told) == expected
    assert later.begin("again").trial == "t0003"
    assert later.begin("new").trial == "t0004"


def test_a_study_that_another_process_has_locked_is_an_error_and_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "LOCK_TIMEOUT", 0.1)
    driver = Driver(tmp_path)
    driver.begin()
    with closing(sqlite3.connect(driver.folder.optuna)) as other:
        other.execute("BEGIN EXCLUSIVE")
        before = driver.folder.optuna.read_bytes()
        with pytest.raises(GensweepError, match=r"optuna.db cannot be used \(database is locked\).*tune --resume a"):
            Driver(tmp_path)
        with pytest.raises(GensweepError, match="database is locked"):
            driver.begin("y")
        assert driver.folder.optuna.read_bytes() == before
    assert Driver(tmp_path).begin().trial == "t0000"


def begin_until_it_is_full(driver):
    for number in range(1000):
        driver.begin(str(number))


def test_a_full_disk_is_an_error_and_the_sweep_goes_on_once_there_is_room(tmp_path, monkeypatch):
    driver = Driver(tmp_path, trials=1000)
    pages = driver.folder.optuna.stat().st_size // 4096

    def connect(*args, **kwargs):
        connection = sqlite3.connect(*args, **kwargs)
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    with monkeypatch.context() as full:
        full.setattr(study, "sqlite3", SimpleNamespace(**{**vars(sqlite3), "connect": connect}))
        with pytest.raises(GensweepError, match=r"optuna.db cannot be used \(database or disk is full\); make room"):
            begin_until_it_is_full(driver)
    assert Driver(tmp_path, trials=1000).begin().trial == "t0000"


def test_studies_are_minimised_or_maximised_by_the_mode(tmp_path):
    assert Driver(tmp_path, mode="max").session.study.direction == optuna.study.StudyDirection.MAXIMIZE
