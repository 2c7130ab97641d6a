"""MLflow as a view of the log: what it shows, and that it can be deleted, lag behind or be fed twice."""

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from logged import LoggedSweep
from made_up import BUDGET, diffusion, write_sweep
from made_up import IDENTITY as MADE_UP
from PIL import Image

from gensweep.errors import GensweepError
from gensweep.remote_folder import RemoteFolder
from gensweep.sweep.checkpoints import checkpoint_uri
from gensweep.sweep.checkpoints import store as store_checkpoint
from gensweep.sweep.events import Ended, Lost, Retried, Saved, SessionStarted, Started, Suggested
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState
from gensweep.tracking import store as store_module
from gensweep.tracking.artifacts import stored_history, trial_config
from gensweep.tracking.logged_models import models_of
from gensweep.tracking.provenance import git_state, provenance_tags
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import checkpoint_folder, find_sweep, find_trial, load_sweeps
from gensweep.tracking.store import client
from gensweep.tracking.sync import sync, sync_all
from gensweep.tracking.view import LogView

SECRET = "q9Zk3vB7xW2mN8pL"


@pytest.fixture(scope="module")
def sweep(store):
    """A sweep of five trials, one of which failed."""
    return write_sweep(store, "made-up", diffusion, 5, seed=1, failing=3, rungs=2, keep=2)


def test_a_sweep_is_a_parent_run_with_a_child_a_trial(sweep):
    client = store_module.client()
    found = find_sweep("made-up")
    assert [trial.trial for trial in found.trials] == ["t0000", "t0001", "t0002", "t0003", "t0004"]
    for trial in found.trials:
        run = client.get_run(trial.run_id)
        assert run.data.tags["mlflow.parentRunId"] == found.run_id
        assert run.info.run_name == f"made-up/{trial.trial}"
        assert "diffusion.timesteps" in run.data.params
        assert run.data.params["diffusion.schedule.kind"] in ("linear", "cosine", "sigmoid")


def test_statuses_match_the_ends(sweep):
    client = store_module.client()
    ends = {trial.status: client.get_run(trial.run_id).info.status for trial in find_sweep("made-up").trials}
    assert ends["finished"] == "FINISHED"
    assert ends["failed"] == "FAILED"
    assert ends.get("pruned", "KILLED") == "KILLED"
    assert client.get_run(find_sweep("made-up").run_id).info.status == "FINISHED"


def test_metrics_have_images_as_steps_and_pictures_are_steps_too(sweep):
    client = store_module.client()
    trial = find_sweep("made-up").trials[0]
    assert [step for step, _ in stored_history(trial, "fd")] == [BUDGET // 2, BUDGET]
    names = [item.path for item in client.list_artifacts(trial.run_id, "images")]
    assert sum(f"samples+step+{BUDGET}+" in name and name.endswith(".png") for name in names) == 1
    assert client.get_run(trial.run_id).data.tags["mlflow.loggedImages"] == "True"


def test_the_best_checkpoints_are_kept_and_the_best_trial_is_tagged(sweep):
    client = store_module.client()
    found = find_sweep("made-up")
    ranked = sorted((t for t in found.trials if t.objective is not None), key=lambda t: t.objective.value)
    for rank, trial in enumerate(ranked):
        run = client.get_run(trial.run_id)
        assert len(models_of(client, run.info.experiment_id, trial.run_id)) == (rank < 2)
        assert trial.best == (rank == 0)
    tags = client.get_run(found.run_id).data.tags
    assert tags["gensweep.best_trial"] == ranked[0].trial
    assert float(tags["gensweep.best_objective"]) == ranked[0].objective.value
    assert client.get_run(found.run_id).data.metrics["best/fd"] == ranked[0].objective.value


def test_the_configuration_and_its_origin_are_on_record(sweep):
    found = find_sweep("made-up")
    assert trial_config(found.trials[1])["family"] == {"kind": "diffusion", "conditional": True}
    assert found.command == "gensweep tune search_spaces/made-up.yaml"
    tags = store_module.client().get_run(found.run_id).data.tags
    assert {"gensweep.devices", "gensweep.seed", "gensweep.world_size"} <= set(tags)
    assert not [key for key, value in tags.items() if value.startswith(("{", "[")) and key.startswith("gensweep.")]
    assert found.trials[0].objective.identity == MADE_UP
    session = json.loads(Path(store_module.client().download_artifacts(found.run_id, "session.json")).read_text())
    assert session["versions"].keys() >= {"python", "torch", "mlflow"}
    assert tags["gensweep.data_fingerprint"] == MADE_UP.reference


def test_everything_has_arrived(sweep):
    assert sync(SweepFolder(sweep.parent, sweep.name)) == 0
    tags = store_module.client().get_run(find_sweep("made-up").run_id).data.tags
    assert int(tags["gensweep.position"]) == (sweep / "events.jsonl").stat().st_size


def test_a_trial_has_the_details_of_its_scores_but_no_losses(store):
    sweep = LoggedSweep(store / "sweeps", "detailed", metric="kid")
    sweep.start("t0000")
    kept = {"diversity": 0.9, "signal/accuracy_real": 0.7, "kid/standard_error": 0.02}
    left_out = {"loss": 1.0, "loss/real": 0.4, "images_per_second": 80.0}
    sweep.evaluate("t0000", 100, 0.5, identity=replace(MADE_UP, metric="kid"), **kept, **left_out)
    sweep.end("t0000")
    sweep.file()
    assert find_sweep("detailed").trials[0].signals == kept


def test_every_picture_of_a_checkpoint_is_logged(store, tmp_path):
    for name in ("samples", "schedule"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    sweep = LoggedSweep(store / "sweeps", "pictures")
    sweep.start("t0000", {}, {"family": {"kind": "vdm"}})
    sweep.evaluate("t0000", 100, 50.0, tmp_path)
    sweep.end("t0000")
    shutil.rmtree(tmp_path)  # a checkpoint goes when a better one comes
    sweep.file()
    (trial,) = find_sweep("pictures").trials
    names = [item.path for item in store_module.client().list_artifacts(trial.run_id, "images")]
    assert {path.split("/")[1].split("+")[0] for path in names if path.endswith(".png")} == {"samples", "schedule"}


def test_resuming_goes_on_with_the_same_runs(store):
    for session, (end, status) in enumerate([("stopped", "interrupted"), ("finished", "finished")]):
        command = "gensweep tune a.yaml" if session == 0 else "gensweep tune --resume resumed"
        sweep = LoggedSweep(store / "sweeps", "resumed", tags={"gensweep.command": command})
        sweep.start("t0000", {"x": 1}, {"family": {"kind": "gan"}, "x": 1})
        sweep.evaluate("t0000", 100 * (session + 1), 50.0 + session)
        if session:
            sweep.end("t0000", end)
        sweep.file(status)
        found = find_sweep("resumed")
        assert (found.status, found.trials[0].status) == (status, end)
        assert found.command == "gensweep tune a.yaml"
        # The first rung of a later session is worse, and takes nothing from the best.
        assert found.trials[0].objective.value == 50.0
        if session == 0:
            first = found
    assert found.run_id == first.run_id
    assert [trial.run_id for trial in found.trials] == [first.trials[0].run_id]
    assert stored_history(found.trials[0], "fd") == [(100, 50.0), (200, 51.0)]


def test_a_trial_that_died_before_it_started_shows_its_cause_and_one_that_is_tried_again_its_new_end(store):
    sweep = LoggedSweep(store / "sweeps", "retried")
    sweep.add(Suggested("t0000", 0, {"x": 1}, {"x": 1}, {}))
    sweep.add(Ended("t0000", "failed", "the data are away", outside=True))
    sweep.file()
    (first,) = find_sweep("retried").trials
    assert (first.status, first.error, first.outside) == ("failed", "the data are away", True)
    sweep = LoggedSweep(store / "sweeps", "retried")
    sweep.add(Retried("t0000", {"family": {"kind": "gan"}, "x": 1}))
    sync(sweep.folder)
    sweep.start("t0000")
    sweep.add(Saved("t0000", 50, "s3://bucket/50"))
    sweep.add(Lost("t0000", "worker lost", counts=False))
    sweep.evaluate("t0000", 100, 5.0)
    sweep.end("t0000")
    sweep.file()
    (again,) = find_sweep("retried").trials
    assert (again.status, again.error, again.outside, again.run_id) == ("finished", None, False, first.run_id)
    assert (again.family, again.objective.value) == ("gan", 5.0)
    assert store_module.client().get_run(again.run_id).info.status == "FINISHED"


def seen(name):
    """All that the store shows of a sweep, but for ids and the time of deletion."""
    client, found = store_module.client(), find_sweep(name)
    shown = []
    for run_id in (found.run_id, *(trial.run_id for trial in found.trials)):
        run = client.get_run(run_id)
        tags = {key: value for key, value in run.data.tags.items() if key != "mlflow.parentRunId"}
        histories = {
            key: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run_id, key))
            for key in run.data.metrics
        }
        info = (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time)
        files = sorted(item.path.split("+")[0] for item in client.list_artifacts(run_id))
        shown.append((info, tags, dict(run.data.params), histories, files))
    return shown


def test_a_store_that_was_deleted_is_made_anew_with_every_number(store, sweep):
    before = seen("made-up")
    client = store_module.client()
    for found in load_sweeps():
        if found.name == "made-up":
            for run_id in (found.run_id, *(trial.run_id for trial in found.trials)):
                client.delete_run(run_id)
    assert sync_all(store / "sweeps") == []
    assert seen("made-up") == before


def test_replaying_after_a_crash_at_any_request_changes_nothing(store, sweep):
    """The position is noted last, so a crash repeats what came before it."""
    before = seen("made-up")
    client, found = store_module.client(), find_sweep("made-up")
    folder = SweepFolder(sweep.parent, sweep.name)
    ends = [entry.end for entry in folder.log.read()]
    for position in (0, *ends[1::7]):
        client.set_tag(found.run_id, "gensweep.position", str(position))
        assert sync(folder) == 0
        assert seen("made-up") == before


def test_the_store_is_the_same_however_often_it_was_sent_to(store):
    whole = LoggedSweep(store / "sweeps", "at-once", trials=2, keep_best=1)
    parts = LoggedSweep(store / "sweeps", "in-parts", trials=2, keep_best=1)
    replay = Replay(parts.folder)
    for sweep in (whole, parts):
        for number, trial in enumerate(("t0000", "t0001")):
            sweep.start(trial, {"x": number}, {"x": number})
            sweep.progress(trial, 50, loss=1.0)
            if sweep is parts:
                replay.catch_up(1)
            for rung in (1, 2):
                sweep.evaluate(trial, 100 * rung, 10.0 - rung - number)
                if sweep is parts:
                    replay.catch_up(2)
            sweep.end(trial)
        sweep.close()
    while replay.catch_up():
        pass
    assert sync(whole.folder) == 0
    own = ("gensweep.sweep", "gensweep.folder", "gensweep.position", "mlflow.runName")

    def without_times(name):
        shown = []
        for info, tags, params, histories, files in seen(name):
            told = {key: value for key, value in tags.items() if not key.startswith(own)}
            numbers = {key: [(step, value) for step, value, _ in points] for key, points in histories.items()}
            shown.append((info[1], told, params, numbers, files))
        return shown

    assert without_times("at-once") == without_times("in-parts")


def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(store, caplog):
    sweep = LoggedSweep(store / "sweeps", "refused")
    sweep.start("t0000")
    sweep.progress("t0000", 10, **{"bad\nname!": 1.0})
    sweep.start("t0001")
    sweep.evaluate("t0001", 100, 5.0)
    sweep.file()
    assert [trial.trial for trial in find_sweep("refused").trials] == ["t0000", "t0001"]
    assert find_sweep("refused").trials[1].objective.value == 5.0
    assert "MLflow refused a record of refused/t0000" in caplog.text


def test_hundreds_of_params_and_long_values_arrive(store):
    sweep = LoggedSweep(store / "sweeps", "large")
    sweep.start("t0000", {"p1.x": 1}, {f"p{i}": {"x": i} for i in range(230)} | {"long": "y" * 9000})
    sweep.progress("t0000", 1, **{f"m{i}": float(i) for i in range(1200)})
    sweep.end("t0000", "failed", f"token={SECRET} " + "e" * 9000)
    sweep.file()
    trial = find_sweep("large").trials[0]
    run = store_module.client().get_run(trial.run_id)
    assert len(run.data.params) == 231
    assert len(run.data.metrics) == 1200
    assert trial.error is not None
    assert SECRET not in trial.error


def test_no_secret_reaches_the_store(store, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    argv = ["gensweep", "tune", "a.yaml", "--set", f"data.url=https://me:{SECRET}@example.org/x"]
    config = {"name": "secretive", "base": {"data": {"token": SECRET}}}
    sweep = LoggedSweep(store / "sweeps", "secretive", tags=provenance_tags(git_state(), config, argv), settings=config)
    sweep.start("t0000", {"data.token": SECRET}, {"data": {"token": SECRET}})
    sweep.end("t0000")
    sweep.file()
    assert SECRET.encode() not in (store / "mlflow.db").read_bytes()
    for file in (store / "mlruns").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    found = find_sweep("secretive")
    file = Path(store_module.client().download_artifacts(found.trials[0].run_id, "config.yaml"))
    assert yaml.safe_load(file.read_text())["data"]["token"] == "***"


def test_the_sweep_does_not_wait_for_the_store(store, monkeypatch):
    gate, catch_up, calls = threading.Event(), Replay.catch_up, []

    def late(replay, *arguments):
        gate.wait()
        calls.append(arguments)
        return catch_up(replay, *arguments)

    monkeypatch.setattr(Replay, "catch_up", late)
    sweep = LoggedSweep(store / "sweeps", "quick")
    with closing(LogView("MLflow", partial(Replay, sweep.folder))) as view:
        sweep.start("t0000")
        for step in range(300):
            sweep.progress("t0000", step, loss=1.0)
            view(Started("t0000"), SweepState())
        assert calls == []
        gate.set()
        sweep.end("t0000")
        sweep.close()
    assert len(stored_history(find_sweep("quick").trials[0], "loss")) == 300


@pytest.mark.mlflow
def test_two_processes_that_meet_a_new_database_do_not_run_into_each_other(tmp_path):
    code = "from gensweep.tracking.store_check import check_server; check_server()"
    environment = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}", "PATH": "/usr/bin:/bin"}
    environment |= {key: os.environ[key] for key in ("PYTHONPATH", "HOME") if key in os.environ}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, cwd=tmp_path)
        for _ in range(2)
    ]
    told = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], told


def test_a_log_that_does_not_begin_with_the_sweep_is_told(store):
    folder = SweepFolder(store / "sweeps", "headless")
    folder.log.append(SessionStarted())
    with pytest.raises(GensweepError, match="does not begin with the sweep"):
        Replay(folder).catch_up()
    shutil.rmtree(folder.path)


def test_a_checkpoint_in_a_bucket_is_named_and_not_copied_and_comes_when_it_is_asked_for(store, tmp_path, s3):
    root, source = s3.url(f"{uuid4().hex[:6]}/remote"), tmp_path / "source"
    source.mkdir()
    for name in ("checkpoint.json", "estimates.json", "state.safetensors"):
        (source / name).write_text("{}")
    sweep = LoggedSweep(tmp_path, "remote")
    sweep.start("t0000")
    uri = checkpoint_uri(root, "t0000", 100)
    store_checkpoint(source, uri)
    sweep.evaluate("t0000", 100, 1.0, uri)
    sweep.end("t0000")
    s3.requests.clear()
    sweep.file()
    assert s3.count("GET", "state.safetensors") == 0
    trial = find_trial("remote/t0000")
    assert trial.checkpoint == uri
    assert [item.path for item in client().list_artifacts(trial.run_id)] == ["config.yaml", "estimates.json"]
    folder = checkpoint_folder("remote")
    assert (folder / "state.safetensors").is_file()
    assert folder.is_relative_to(sweep.folder.path)
    shutil.rmtree(sweep.folder.path)  # as on a machine that only knows the tracking server
    assert (checkpoint_folder("remote") / "state.safetensors").is_file()
    RemoteFolder(uri).delete("state.safetensors")
    shutil.rmtree(checkpoint_folder("remote"))
    with pytest.raises(GensweepError, match=r"the checkpoint of remote/t0000 cannot be fetched: .* lacks state"):
        checkpoint_folder("remote")
