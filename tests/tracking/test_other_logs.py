"""MLflow where it has records that the log of the sweep does not have: of another driver, or taken by a power cut."""

import shutil

import pytest
from logged import LoggedSweep

from gensweep.errors import GensweepError
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.log import EventLog
from gensweep.tracking import store as store_module
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import find_sweep
from gensweep.tracking.sync import sync_all
from gensweep.tracking.tags import POSITION, POSITION_MARK, SESSIONS

MARKS = (POSITION_MARK, SESSIONS)


def config(rate):
    return {"family": {"kind": "gan"}, "training": {"images": 900}, "optimizer": {"learning_rate": rate}}


def caught_up(replay):
    while replay.catch_up():
        pass


def shown(name):
    """By trial, what MLflow has of it: learning rate, steps of losses, and scores by training images."""
    client, found = store_module.client(), {}
    for trial in find_sweep(name).trials:
        run = client.get_run(trial.run_id)
        steps, scores = (
            [(point.step, point.value) for point in client.get_metric_history(trial.run_id, key)]
            for key in ("loss", "fd")
        )
        rate = float(run.data.params["optimizer.learning_rate"])
        found[trial.trial] = (rate, [step for step, _ in steps], scores, trial.status)
    return found


def run_ids(name):
    return {trial.trial: trial.run_id for trial in find_sweep(name).trials}


class Elsewhere(LoggedSweep):
    """The same sweep on another machine, which knows it up to a position of the log: another driver goes on there."""

    def __init__(self, sweep, root, known):
        self.folder = SweepFolder(root, sweep.folder.name)
        self.folder.create(sweep.folder.settings)
        self.folder.log.file.write_bytes(sweep.folder.log.file.read_bytes()[:known])

    def go_on(self):
        self.close("interrupted")
        return LoggedSweep(self.folder.path.parent, self.folder.name)


def cut_off(store, name):
    """A driver that is cut off from the storage after some records, while MLflow hears of all; and those records."""
    sweep = LoggedSweep(store / "cut-off", name, trials=4)
    sweep.folder.create({**sweep.folder.settings, "storage": "s3://bucket/sweeps"})
    for number in range(2):
        sweep.start(f"t{number:04d}", {}, config(0.1 + number))
        sweep.evaluate(f"t{number:04d}", 100, 5.0)
    sweep.end("t0000")
    known = sweep.folder.log.size
    sweep.progress("t0001", 150, loss=1.0)
    sweep.evaluate("t0001", 200, 0.1)
    sweep.start("t0002", {}, config(0.2))
    sweep.evaluate("t0002", 100, 0.5)
    sweep.end("t0002")
    caught_up(Replay(sweep.folder, driving=True))
    return sweep, known


@pytest.mark.parametrize("moment", ["at once", "late"])
def test_after_a_driver_was_overtaken_mlflow_shows_what_the_other_one_did(store, moment):
    name = f"overtaken-{moment.replace(' ', '-')}"
    before, known = cut_off(store, name)
    ids = run_ids(name)
    other = Elsewhere(before, store / "there", known)
    before.folder.path.rename(store / f"gone-{name}")
    there = other.go_on()
    replay = Replay(there.folder, driving=True)
    if moment == "at once":
        replay.catch_up()
    there.start("t0001")
    there.evaluate("t0001", 200, 3.0)
    there.start("t0002", {}, config(0.7))
    there.evaluate("t0002", 100, 9.0)
    there.evaluate("t0002", 200, 8.0)
    there.close()
    caught_up(replay)
    assert shown(name) == {
        "t0000": (0.1, [], [(100, 5.0)], "finished"),
        "t0001": (1.1, [], [(100, 5.0), (200, 3.0)], "stopped"),
        "t0002": (0.7, [], [(100, 9.0), (200, 8.0)], "stopped"),
    }
    assert run_ids(name)["t0000"] == ids["t0000"]
    shutil.rmtree(store / "there")


def test_a_command_where_the_log_is_behind_leaves_to_mlflow_what_the_driver_elsewhere_sent(store):
    driver, known = cut_off(store, "behind")
    before, ids = shown("behind"), run_ids("behind")
    stale = Elsewhere(driver, store / "stale", known)
    driver.folder.path.rename(store / "away")
    (note,) = sync_all(store / "stale")
    assert "as another machine went on with it or a power cut took it" in note
    assert "gensweep tune --resume behind" in note
    assert (shown("behind"), run_ids("behind")) == (before, ids)
    (store / "away").rename(driver.folder.path)
    caught_up(Replay(LoggedSweep(driver.folder.path.parent, "behind").folder, driving=True))
    driver.folder.path.rename(store / "away")
    with pytest.raises(GensweepError, match="another machine went on"):  # one that drove it and was overtaken
        caught_up(Replay(stale.folder, driving=True))
    shutil.rmtree(store / "stale")


def test_what_a_power_cut_took_from_the_log_goes_from_mlflow_too(store):
    sweep = LoggedSweep(store / "sweeps", "power-cut", trials=3)
    for trial in ("t0000", "t0001"):
        sweep.start(trial, {}, config(0.1))
        sweep.progress(trial, 50, loss=2.0)
        sweep.evaluate(trial, 100, 5.0)
    sweep.end("t0000")
    size = sweep.folder.log.size
    for images in (150, 160, 170, 180, 190):
        sweep.progress("t0001", images, loss=1.0)
    caught_up(Replay(sweep.folder))
    ids = run_ids("power-cut")
    with sweep.folder.log.file.open("rb+") as log:
        log.truncate(size)
    assert sync_all(store / "sweeps") == []
    assert shown("power-cut")["t0001"] == (0.1, [50], [(100, 5.0)], "stopped")
    sweep = LoggedSweep(store / "sweeps", "power-cut")
    sweep.start("t0001")
    sweep.progress("t0001", 150, loss=1.0)
    sweep.evaluate("t0001", 200, 4.0)
    sweep.end("t0001")
    sweep.start("t0002", {}, config(0.2))
    sweep.file()
    assert shown("power-cut") == {
        "t0000": (0.1, [50], [(100, 5.0)], "finished"),
        "t0001": (0.1, [50, 150], [(100, 5.0), (200, 4.0)], "finished"),
        "t0002": (0.2, [], [], "stopped"),
    }
    assert run_ids("power-cut")["t0000"] == ids["t0000"]


@pytest.mark.parametrize("damage", [None, "the position is that of another log"])
def test_a_store_of_a_version_that_noted_no_marks_goes_on_with_its_runs(store, damage):
    name = f"former-{damage is None}"
    sweep = LoggedSweep(store / "sweeps", name, trials=2)
    sweep.start("t0000", {}, config(0.1))
    sweep.evaluate("t0000", 100, 5.0)
    caught_up(Replay(sweep.folder))
    client, found = store_module.client(), find_sweep(name)
    for run_id in (found.run_id, found.trials[0].run_id):
        for tag in MARKS:
            if tag in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, tag)
    client.delete_tag(found.trials[0].run_id, POSITION)
    if damage is not None:
        client.set_tag(found.run_id, POSITION, str(sweep.folder.log.size - 3))
    sweep.evaluate("t0000", 200, 4.0)
    sweep.end("t0000")
    sweep.file()
    assert shown(name) == {"t0000": (0.1, [], [(100, 5.0), (200, 4.0)], "finished")}
    assert run_ids(name)["t0000"] == found.trials[0].run_id


def test_a_run_that_was_deleted_is_made_whole_by_the_next_event_of_its_trial(store):
    sweep = LoggedSweep(store / "sweeps", "holed", trials=2)
    for trial in ("t0000", "t0001"):
        sweep.start(trial, {}, config(0.1))
        sweep.evaluate(trial, 100, 5.0)
    caught_up(Replay(sweep.folder))
    store_module.client().delete_run(run_ids("holed")["t0000"])
    sweep.evaluate("t0000", 200, 4.0)
    sweep.file()
    assert shown("holed")["t0000"] == (0.1, [], [(100, 5.0), (200, 4.0)], "stopped")


def test_what_the_log_says_of_a_trial_that_it_does_not_know_holds_nothing_up(store):
    """Scores of later evaluations are carried over from the log of a driver that was overtaken."""
    sweep = LoggedSweep(store / "sweeps", "carried", trials=2)
    sweep.start("t0000", {}, config(0.1))
    sweep.progress("t0007", 50, loss=1.0)
    sweep.evaluate("t0000", 100, 5.0)
    sweep.file()
    assert shown("carried") == {"t0000": (0.1, [], [(100, 5.0)], "stopped")}


def test_where_mlflow_has_all_of_the_log_its_first_record_alone_is_read(store, monkeypatch):
    sweep = LoggedSweep(store / "sweeps", "whole")
    sweep.start("t0000", {}, config(0.1))
    sweep.progress("t0000", 50, loss=1.0)
    sweep.file()
    parsed, one = [], EventLog._parsed
    monkeypatch.setattr(EventLog, "_parsed", lambda log, *line: parsed.append(line) or one(log, *line))
    assert not Replay(sweep.folder).catch_up()
    assert len(parsed) == 1


def test_a_mark_costs_no_request(store, monkeypatch):
    """A number of a trial goes to its run, and the position to that of the sweep, in a request each."""
    sweep = LoggedSweep(store / "sweeps", "cheap")
    sweep.start("t0000", {}, config(0.1))
    replay = Replay(sweep.folder)
    caught_up(replay)
    requests, log_batch = [], replay._client.log_batch
    monkeypatch.setattr(
        replay._client, "log_batch", lambda *run, **sent: requests.append(run) or log_batch(*run, **sent)
    )
    sweep.progress("t0000", 50, loss=1.0)
    caught_up(replay)
    assert len(requests) == 2
