"""MLflow brought up to date with the logs of sweeps that run, that do not, and that belong elsewhere."""

import threading
from datetime import datetime

from logged import LoggedSweep

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
