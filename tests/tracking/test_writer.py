import json
import threading
from pathlib import Path

import pytest
import yaml
from made_up import BUDGET, IDENTITY, diffusion, write_sweep
from PIL import Image

from gensweep.errors import GensweepError
from gensweep.tracking import store as store_module
from gensweep.tracking.artifacts import metric_history
from gensweep.tracking.records import Report, SweepStart, TrialEnd, TrialStart
from gensweep.tracking.runs import find_sweep, trial_config
from gensweep.tracking.spool import Spool
from gensweep.tracking.upload import RunIds, Uploader
from gensweep.tracking.writer import MlflowWriter, check_server, sync

SECRET = "q9Zk3vB7xW2mN8pL"


@pytest.fixture(scope="module")
def sweep(store):
    """A sweep of five trials, one of which failed."""
    return write_sweep(store, "made-up", diffusion, 5, seed=1, failing=3, rungs=2, keep=2)


def start(folder: Path, name: str, **values) -> SweepStart:
    return SweepStart(
        **{
            "sweep": name,
            "folder": folder / "sweeps" / name,
            "trials": 2,
            "ended": 0,
            "concurrent": 1,
            "metric": "fd",
            "mode": "min",
            "resumed": False,
        }
        | values
    )


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
    assert [step for step, _ in metric_history(trial, "fd")] == [BUDGET // 2, BUDGET]
    names = [item.path for item in client.list_artifacts(trial.run_id, "images")]
    assert sum(f"samples+step+{BUDGET}+" in name and name.endswith(".png") for name in names) == 1
    assert client.get_run(trial.run_id).data.tags["mlflow.loggedImages"] == "True"


def test_the_best_checkpoints_are_kept_and_the_best_trial_is_tagged(sweep):
    client = store_module.client()
    found = find_sweep("made-up")
    ranked = sorted((t for t in found.trials if t.countable), key=lambda t: t.objective.value)
    for rank, trial in enumerate(ranked):
        assert bool(client.list_artifacts(trial.run_id, "checkpoint")) == (rank < 2)
        assert trial.best == (rank == 0)
    tags = client.get_run(found.run_id).data.tags
    assert tags["gensweep.best_trial"] == ranked[0].trial
    assert float(tags["gensweep.best_objective"]) == ranked[0].objective.value
    assert client.get_run(found.run_id).data.metrics["best/fd"] == ranked[0].objective.value


def test_the_configuration_and_its_origin_are_on_record(sweep):
    found = find_sweep("made-up")
    assert trial_config("made-up/t0001")["family"] == {"kind": "diffusion", "conditional": True}
    assert found.command == "gensweep tune search_spaces/made-up.yaml"
    assert {"gensweep.versions", "gensweep.devices", "gensweep.seed", "gensweep.world_size"} <= set(found.tags)
    assert json.loads(found.tags["gensweep.identity"]) == IDENTITY
    assert found.tags["gensweep.data_fingerprint"] == IDENTITY["reference"]


def test_everything_has_arrived_and_the_spool_is_empty(sweep):
    assert not (sweep / "tracking" / "spool" / "records.jsonl").exists()
    assert sync(sweep) == 0


def test_every_picture_of_a_checkpoint_is_logged(store, tmp_path):
    for name in ("samples", "schedule"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    config = {"family": {"kind": "vdm"}}
    with MlflowWriter({}, argv=["gensweep", "tune"]) as writer:
        writer.sweep_started(start(store, "pictures"))
        writer.trial_started(TrialStart("t0000", {}, config, False))
        writer.trial_reported(Report("t0000", 100, {"fd": 50.0}, IDENTITY, tmp_path))
        writer.trial_ended(TrialEnd("t0000", "finished", 50.0, None, 100))
        writer.sweep_ended("finished")
    (trial,) = find_sweep("pictures").trials
    names = [item.path for item in store_module.client().list_artifacts(trial.run_id, "images")]
    assert {path.split("/")[1].split("+")[0] for path in names if path.endswith(".png")} == {"samples", "schedule"}


def test_resuming_goes_on_with_the_same_runs(store):
    config, params = {"family": {"kind": "gan"}, "x": 1}, {"x": 1}
    for session, resumed in enumerate((False, True)):
        with MlflowWriter({}, argv=["gensweep", "tune"]) as writer:
            writer.sweep_started(start(store, "resumed", resumed=resumed))
            writer.trial_started(TrialStart("t0000", params, config, resumed))
            writer.trial_reported(Report("t0000", 100 * (session + 1), {"fd": 50.0 - session}, IDENTITY))
            if session == 0:
                writer.trial_ended(TrialEnd("t0000", "stopped", 50.0, None, 100))
                writer.sweep_ended("interrupted")
            else:
                writer.trial_ended(TrialEnd("t0000", "finished", 49.0, None, 200))
                writer.sweep_ended("finished")
        found = find_sweep("resumed")
        if session == 0:
            first = found
            assert (found.status, found.trials[0].status) == ("interrupted", "stopped")
    assert found.run_id == first.run_id
    assert [trial.run_id for trial in found.trials] == [first.trials[0].run_id]
    assert found.trials[0].status == "finished"
    assert metric_history(found.trials[0], "fd") == [(100, 50.0), (200, 49.0)]


def test_repeating_all_records_changes_nothing(store):
    """A crash after sending and before noting it repeats records."""
    folder = store / "sweeps" / "repeated" / "tracking"
    lines = []
    for _ in range(2):
        spool = Spool(folder / "spool")
        if not lines:
            lines = [
                {"op": "run", "run": "", "name": "repeated", "time": 1, "tags": {"gensweep.kind": "sweep"}},
                {"op": "run", "run": "t0", "name": "r/t0", "time": 2, "tags": {}, "params": {"a": "1"}},
                *[{"op": "metrics", "run": "t0", "time": 3 + i, "step": i, "metrics": {"fd": 9.0}} for i in range(4)],
                {"op": "end", "run": "t0", "status": "FINISHED", "time": 9},
            ]
        for line in lines:
            spool.append(line)
        ids = RunIds(folder / "runs.json")
        sweep_id = ids.sweep_id
        if (folder / "runs.json").exists():
            ids.runs.clear()  # as if it had crashed before the ids were noted, too
        ids.save()
        assert ids.sweep_id == sweep_id
        uploader = Uploader(spool, ids)
        while uploader.send():
            pass
        spool.close()
    client = store_module.client()
    runs = client.search_runs([client.get_run(ids.runs["t0"]).info.experiment_id], "tags.`gensweep.trial` = 't0'")
    assert len(runs) == 1
    assert len(client.get_metric_history(ids.runs["t0"], "fd")) == 4
    assert runs[0].info.status == "FINISHED"


def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(store, caplog):
    folder = store / "sweeps" / "refused" / "tracking"
    spool, ids = Spool(folder / "spool"), RunIds(folder / "runs.json")
    spool.append({"op": "run", "run": "", "name": "refused", "time": 1, "tags": {}})
    spool.append({"op": "metrics", "run": "", "time": 1, "step": 0, "metrics": {"bad\nname!": 1.0}})
    spool.append({"op": "metrics", "run": "unknown", "time": 1, "step": 0, "metrics": {"a": 1.0}})
    spool.append({"op": "tags", "run": "", "tags": {"after": "yes"}})
    uploader = Uploader(spool, ids)
    while uploader.send():
        pass
    spool.close()
    assert store_module.client().get_run(ids.runs[""]).data.tags["after"] == "yes"
    assert "refused a 'metrics' record" in caplog.text


def test_hundreds_of_params_and_long_values_arrive(store):
    tree = {f"p{i}": {"x": i} for i in range(230)} | {"long": "y" * 9000}
    with MlflowWriter({}) as writer:
        writer.sweep_started(start(store, "large"))
        writer.trial_started(TrialStart("t0000", {"p1.x": 1}, tree))
        writer.trial_reported(Report("t0000", 1, {f"m{i}": float(i) for i in range(1200)} | {"bad": float("nan")}))
        writer.trial_ended(TrialEnd("t0000", "failed", None, f"token={SECRET} " + "e" * 9000))
    trial = find_sweep("large").trials[0]
    run = store_module.client().get_run(trial.run_id)
    assert len(run.data.params) == 231
    assert len(run.data.metrics) == 1200
    assert trial.error is not None
    assert SECRET not in trial.error


def test_no_secret_reaches_the_store(store, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    argv = ["gensweep", "tune", "a.yaml", "--set", f"data.url=https://me:{SECRET}@example.org/x"]
    with MlflowWriter({"base": {"data": {"token": SECRET}}}, argv=argv) as writer:
        writer.sweep_started(start(store, "secretive"))
        writer.trial_started(TrialStart("t0000", {"data.token": SECRET}, {"data": {"token": SECRET}}))
        writer.trial_ended(TrialEnd("t0000", "finished", None))
    assert SECRET.encode() not in (store / "mlflow.db").read_bytes()
    for file in (store / "mlruns").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()
    found = find_sweep("secretive")
    assert yaml.safe_load(trial_config_file(found.trials[0].run_id))["data"]["token"] == "***"


def trial_config_file(run_id: str) -> str:
    return Path(store_module.client().download_artifacts(run_id, "config.yaml")).read_text()


def test_an_unreachable_server_is_told(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(GensweepError, match=r"http://127\.0\.0\.1:9 does not answer.*MLFLOW_TRACKING_URI"):
        check_server()


def test_an_observer_does_not_wait_for_the_store(store, monkeypatch):
    gate, send, sent = threading.Event(), Uploader.send, []

    def late(uploader, *arguments):
        gate.wait()
        sent.append(arguments)
        return send(uploader, *arguments)

    monkeypatch.setattr(Uploader, "send", late)
    with MlflowWriter({}) as writer:
        writer.sweep_started(start(store, "quick"))
        writer.trial_started(TrialStart("t0000", {}, {}))
        for step in range(300):
            writer.trial_reported(Report("t0000", step, {"loss": 1.0}))
        assert sent == []
        gate.set()
        writer.trial_ended(TrialEnd("t0000", "finished", None))
        writer.sweep_ended("finished")
    assert len(metric_history(find_sweep("quick").trials[0], "loss")) == 300
