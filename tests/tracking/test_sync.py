"""MLflow brought up to date with the logs of sweeps that run, that do not, and that belong elsewhere."""

import json
import shutil
import threading
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from logged import LoggedSweep, evaluation

from gensweep.api import sweeps
from gensweep.cli.main import run
from gensweep.results import Outcome, SamplingConfig
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking import store as store_module
from gensweep.tracking.artifacts import download
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import find_sweep, load_sweeps, sweep_in
from gensweep.tracking.sync import file_outcomes, sync, sync_all
from gensweep.tracking.view import LogView

#: Tags that a run is made with.
OF_A_RUN = ("gensweep.sweep_id", "gensweep.sweep", "gensweep.trial", "gensweep.kind")


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


def filed(root, name, trials=2):
    """A sweep that has ended, and is in MLflow."""
    sweep = LoggedSweep(root / "sweeps", name, trials=trials)
    for number in range(trials):
        sweep.start(f"t{number:04d}", {"x": number}, {"x": number})
        sweep.evaluate(f"t{number:04d}", 100, 5.0 - number)
        sweep.end(f"t{number:04d}")
    sweep.close()
    assert sync(sweep.folder) == 0
    return sweep.folder


def test_a_sweep_that_a_thread_is_still_sending_is_left_to_it(store):
    """As where what is to be sent at the end of a sweep takes longer than its view is waited for."""
    sweep = LoggedSweep(store / "sweeps", "slow", trials=1)
    sweep.start("t0000")
    sweep.evaluate("t0000", 100, 5.0)
    sweep.end("t0000")
    sweep.close()
    may_go_on, replay = threading.Event(), Replay(sweep.folder)

    class Slow:
        def catch_up(self):
            may_go_on.wait()
            return replay.catch_up()

        def remaining(self):
            return replay.remaining()

    view = LogView("MLflow", Slow, lock=sweep.folder.mlflow_lock())
    view.wake()
    assert view.close(timeout=0.1) > 0
    assert sync(sweep.folder) is None
    may_go_on.set()
    view._thread.join(30)
    assert sync(sweep.folder) == 0
    assert [trial.trial for trial in find_sweep("slow").trials] == ["t0000"]


def test_the_second_of_two_runs_of_a_trial_goes(store):
    """A server may make a run, lose its answer, and be asked to make it again."""
    folder, client = filed(store, "twice-made"), store_module.client()
    first = find_sweep("twice-made")
    run = client.get_run(first.trials[0].run_id)
    tags = {key: run.data.tags[key] for key in (*OF_A_RUN, "mlflow.parentRunId")}
    client.create_run(run.info.experiment_id, tags=tags)
    assert len(find_sweep("twice-made").trials) == 3
    assert sync_all(folder.path.parent) == []
    assert [trial.run_id for trial in find_sweep("twice-made").trials] == [trial.run_id for trial in first.trials]


def test_trials_find_the_run_of_their_sweep_that_is_made_anew(store):
    folder = filed(store, "orphaned")
    store_module.client().delete_run(find_sweep("orphaned").run_id)
    assert sync_all(folder.path.parent) == []
    assert [trial.objective.value for trial in find_sweep("orphaned").trials] == [5.0, 4.0]


def test_details_that_were_lost_are_written_again_and_an_answer_without_them_is_not_kept(store):
    folder = filed(store, "lost-details")
    run_id = find_sweep("lost-details").run_id
    (file,) = store.glob(f"mlruns/*/{run_id}/artifacts/trials/000.json")
    file.rename(file.with_name("elsewhere"))
    store_module.client().set_tag(run_id, "mine", "1")  # so that MLflow is asked again
    assert [trial.objective for trial in find_sweep("lost-details").trials] == [None, None]
    file.with_name("elsewhere").rename(file)
    assert [trial.objective.value for trial in find_sweep("lost-details").trials] == [5.0, 4.0]
    file.unlink()
    store_module.client().set_tag(run_id, "mine", "2")
    assert sync_all(folder.path.parent) == []
    assert [trial.objective.value for trial in find_sweep("lost-details").trials] == [5.0, 4.0]


def test_the_scores_of_other_trials_stay_when_runs_are_deleted_in_mlflow(store, monkeypatch):
    monkeypatch.setattr("gensweep.tracking.tags.TRIALS_A_FILE", 2)
    filed(store, "thinned", trials=5)
    for trial in find_sweep("thinned").trials[:2]:
        store_module.client().delete_run(trial.run_id)
    found = find_sweep("thinned").trials
    assert [(trial.trial, trial.objective.value) for trial in found] == [("t0002", 3.0), ("t0003", 2.0), ("t0004", 1.0)]


def test_what_machines_without_the_folder_measure_is_filed_beside_what_there_was(store):
    sampling = SamplingConfig("ddim", 10, None, "ema", evaluations=10)
    outcome = Outcome(sampling, 8, 0, evaluation(100, 4.0).scores, 1.0, 1.0, "cpu", "ab12", 1.0)
    folder = filed(store, "measured", trials=1)
    (trial,) = find_sweep("measured").trials
    file_outcomes(trial, 100, [outcome])
    shutil.rmtree(folder.path)
    other_seed, other_checkpoint, again = replace(outcome, seed=1), replace(outcome, checkpoint="cd34"), 2.0
    for measured in (other_seed, other_checkpoint, replace(outcome, time=again)):
        file_outcomes(trial, 100, [measured])
    record = json.loads(download(trial.run_id, "evaluations.json").read_text())
    found = [(each["checkpoint"], each["seed"], each["time"]) for each in record["outcomes"]]
    assert sorted(found) == [("ab12", 0, again), ("ab12", 1, 1.0), ("cd34", 0, 1.0)]


def test_the_sweep_of_a_folder_is_not_another_one_of_its_name(store):
    ours = filed(store, "common")
    theirs = filed(store / "others", "common", trials=1)
    assert [len(sweep_in(folder).trials) for folder in (ours, theirs)] == [2, 1]


def test_a_database_is_one_store_however_it_is_spelt(store, monkeypatch):
    for uri in ("sqlite:///mlflow.db", "sqlite:///./mlflow.db", f"sqlite:///{store}/mlflow.db"):
        monkeypatch.setattr(store_module, "tracking_uri", lambda uri=uri: uri)
        assert store_module.store_name() == f"sqlite:///./mlflow.db {store_module.experiment_name()}"
    assert store_module.is_this_store(f"sqlite:///mlflow.db {store_module.experiment_name()}")
    assert not store_module.is_this_store(f"sqlite:///other.db {store_module.experiment_name()}")
    assert not store_module.is_this_store("sqlite:///mlflow.db another")
    for folder, uri in ((store, f"sqlite:///{store}-beside/mlflow.db"), (Path("/"), "sqlite:///mlflow.db")):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(store_module, "tracking_uri", lambda uri=uri: uri)
        assert store_module.is_this_store(store_module.store_name())


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
