"""MLflow brought up to date with the logs of sweeps that run, that do not, and that belong elsewhere."""

import json
import threading
from datetime import datetime

from logged import LoggedSweep

from gensweep.api import sweeps
from gensweep.cli.main import run
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking import store as store_module
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import find_sweep, load_sweeps
from gensweep.tracking.sync import sync, sync_all


def test_a_sweep_whose_driver_was_lost_is_interrupted_at_the_next_command(store):
    sweep = LoggedSweep(store / "sweeps", "lost", trials=2)
    sweep.start("t0000")
    sweep.evaluate("t0000", 100, 5.0)
    replay = Replay(sweep.folder)
    while replay.catch_up():
        pass
    assert find_sweep("lost").status == "running"
    assert sync_all(store / "sweeps") == []
    found = find_sweep("lost")
    assert (found.status, found.trials[0].status) == ("interrupted", "stopped")
    run = store_module.client().get_run(found.trials[0].run_id)
    assert (run.info.status, run.info.end_time is not None) == ("KILLED", True)


def test_a_sweep_that_is_running_is_left_to_its_driver(store):
    sweep = LoggedSweep(store / "sweeps", "busy")
    with sweep.folder.locked():
        assert sync(SweepFolder(store / "sweeps", "busy")) is None
    assert sweep.folder.state().status == "running"


def test_what_the_driver_of_a_running_sweep_has_not_sent_is_told_with_the_time_of_what_is_shown(store, monkeypatch):
    monkeypatch.setattr("gensweep.tracking.sync.DRIVER_PATIENCE", 0.0)
    sweep = LoggedSweep(store / "sweeps", "behind", trials=2)
    sweep.start("t0000")
    replay = Replay(sweep.folder)
    while replay.catch_up():
        pass
    with sweep.folder.locked():
        assert sync_all(store / "sweeps") == []
        for images in (100, 200, 300):
            sweep.evaluate("t0000", images, 5.0)
        unsent = list(sweep.folder.log.read())[-3:]
        shown = datetime.fromtimestamp(unsent[0].time / 1000).strftime("%Y-%m-%d %H:%M:%S")
        assert sync_all(store / "sweeps") == [
            f"3 records of behind are still to be written to MLflow: it is shown as of {shown}"
        ]


def test_a_session_that_goes_on_reads_the_runs_that_change_and_no_others(store, monkeypatch):
    sweep = LoggedSweep(store / "sweeps", "long", trials=9)
    for number in range(8):
        sweep.start(trial := f"t{number:04d}")
        sweep.evaluate(trial, 100, 10.0 - number % 5)
        sweep.end(trial)
    sweep.close("interrupted")
    sync(sweep.folder)
    read = []

    def recorded(*asked):
        read.extend(found := store_module.search_runs(*asked))
        return found

    monkeypatch.setattr("gensweep.tracking.replay.search_runs", recorded)
    LoggedSweep(store / "sweeps", "long")
    sweep.start("t0008")
    sweep.evaluate("t0008", 100, 1.0)
    sweep.end("t0008")
    sweep.close()
    sync(sweep.folder)
    assert {run.data.tags["gensweep.trial"] for run in read} == {"", "t0004"}  # the sweep's and the best, no more
    found = find_sweep("long")
    assert [(trial.trial, trial.best, trial.objective.value) for trial in found.trials if trial.best] == [
        ("t0008", True, 1.0)
    ]
    assert [trial.trial for trial in found.trials] == [f"t{number:04d}" for number in range(9)]


def test_the_driver_of_a_running_sweep_gets_a_moment_to_send_what_is_new(store):
    sweep = LoggedSweep(store / "sweeps", "busy", trials=2)
    replay = Replay(sweep.folder)
    with sweep.folder.locked():
        sweep.start("t0000")
        sender = threading.Timer(0.5, lambda: [None for _ in iter(replay.catch_up, False)])
        sender.start()
        assert sync_all(store / "sweeps") == []
        sender.join()


def test_a_sweep_of_another_store_is_left_alone(store):
    LoggedSweep(store / "sweeps", "elsewhere", store="http://127.0.0.1:9 gensweep").close()
    assert sync_all(store / "sweeps") == []
    assert "elsewhere" not in [found.name for found in load_sweeps()]


def test_a_sweep_that_has_ended_is_shown_again_without_a_session(store, capsys):
    sweep = sweeps.read_space("quickstart", name="done", trials=1, overrides={"rescore": False})
    logged = LoggedSweep(store / "sweeps", "done", settings=json.loads(json.dumps(sweep.as_dict())))
    logged.start("t0000")
    logged.evaluate("t0000", 100, 5.0)
    logged.end("t0000")
    logged.close()
    size = logged.folder.log.size
    assert run(["tune", "--resume", "done"]) == 0
    assert "Sweep done: 1 trial in" in capsys.readouterr().err
    assert logged.folder.log.size == size
    assert logged.folder.optuna.is_file()
    assert find_sweep("done").trials[0].objective.value == 5.0
