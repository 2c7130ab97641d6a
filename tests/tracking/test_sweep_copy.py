"""MLflow as a copy of the log: its contents, and that it can be deleted, lag behind or be sent twice."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from logged import IDENTITY, LoggedSweep
from mlflow_runs import artifacts, history, runs_of, shown
from PIL import Image

from gensweep.remote_folder import below
from gensweep.sweep.provenance import git_state, provenance_tags
from gensweep.tracking.logged_models import models_of
from gensweep.tracking.store import client, experiment_id
from gensweep.tracking.sweep_copy import Sent, SweepCopy
from gensweep.tracking.sync import sync

SECRET = "q9Zk3vB7xW2mN8pL"


def config(rate=0.1):
    return {"family": {"kind": "gan"}, "training": {"images": 200}, "optimizer": {"learning_rate": rate}, "seed": 3}


def play(root, name, trials=3, **created):
    """A sweep whose last trial failed; the others have checkpoints with pictures, better and better."""
    tags = provenance_tags(git_state(), {"name": name}) | {"gensweep.command": f"gensweep tune {name}.yaml"}
    sweep = LoggedSweep(root / "sweeps", name, trials=trials, tags=tags, **created)
    for number in range(trials - 1):
        sweep.start(trial := f"t{number:04d}", {"x": number}, config(0.1 * (number + 1)))
        for images in (100, 200):
            made = root / "made"
            made.mkdir(parents=True, exist_ok=True)
            (made / "checkpoint.json").write_text("{}")
            Image.new("RGB", (4, 4)).save(made / "samples.png")
            sweep.progress(trial, images - 50, loss=1.0)
            sweep.evaluate(trial, images, 10 - number - images / 100, made)
        sweep.end(trial)
    sweep.start(f"t{trials - 1:04d}", {}, config())
    sweep.end(f"t{trials - 1:04d}", "failed", f"token={SECRET} away")
    sweep.close()
    return sweep.folder


@pytest.fixture(scope="module")
def folder(store):
    folder = play(store, "whole", keep_best=1)
    assert sync(folder)
    return folder


def test_a_sweep_is_a_parent_run_with_a_child_per_trial(folder):
    runs = runs_of(folder)
    assert sorted(runs) == ["", "t0000", "t0001", "t0002"]
    parent = runs.pop("")
    assert (parent.info.run_name, parent.info.status) == ("whole", "FINISHED")
    assert parent.data.metrics["best/fd"] == 7.0
    expected = {"best_score": "t0001", "best_objective": "7.0", "status": "finished", "metric": "fd", "mode": "min"}
    expected |= {"command": "gensweep tune whole.yaml", "data_fingerprint": IDENTITY.reference}
    assert {key: parent.data.tags[f"gensweep.{key}"] for key in expected} == expected
    assert "config.yaml" in artifacts(parent)
    assert json.loads(parent.data.tags["gensweep.versions"]).keys() >= {"python", "torch", "mlflow"}
    assert [run.info.status for _, run in sorted(runs.items())] == ["FINISHED", "FINISHED", "FAILED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    experiment = client().get_experiment(experiment_id(client()))
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_trial_shows_its_configuration_numbers_and_pictures(folder):
    run = runs_of(folder)["t0001"]
    assert run.info.run_name == "whole/t0001"
    assert run.data.params["optimizer.learning_rate"] == "0.2"
    assert (history(run, "fd"), history(run, "loss")) == ([(100, 8.0), (200, 7.0)], [(50, 1.0), (150, 1.0)])
    assert {"config.yaml", "images"} == {*artifacts(run)}
    pictures = [path for path in artifacts(run, "images") if path.endswith(".png")]
    assert sorted(path.split("+")[2] for path in pictures) == ["100", "200"]
    assert run.data.tags["mlflow.loggedImages"] == "True"
    (used,) = run.inputs.dataset_inputs
    assert used.dataset.name == IDENTITY.reference
    expected = {"status": "finished", "objective": "7.0", "family": "gan", "seed": "3", "best": "true"}
    assert {key: run.data.tags[f"gensweep.{key}"] for key in expected} == expected
    file = Path(client().download_artifacts(run.info.run_id, "config.yaml"))
    assert yaml.safe_load(file.read_text()) == config(0.2)


def test_the_best_checkpoints_are_models(folder):
    for name, run in runs_of(folder).items():
        assert len(models_of(client(), run.info.experiment_id, run.info.run_id)) == (name == "t0001")
    assert Sent.read(folder).models == {"t0001": 200}


def test_no_secret_reaches_the_store(folder, store):
    assert runs_of(folder)["t0002"].data.tags["gensweep.error"] == "token=*** away"
    assert SECRET.encode() not in (store / "mlflow.db").read_bytes()
    for file in (store / "mlruns").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def test_sending_again_after_a_crash_changes_nothing(folder):
    """The position is written last, so a crash repeats the records before it."""
    before, sent = shown(folder), Sent.read(folder)
    ends = [entry.end for entry in folder.log.read()]
    for position in (0, *ends[1::5]):
        replace(sent, position=position, mark=folder.log.fingerprint(position), models={}).write(folder)
        assert sync(folder)
        assert shown(folder) == before
    assert (Sent.read(folder).position, Sent.read(folder).models) == (sent.position, sent.models)


@pytest.mark.parametrize("loss", ["all runs", "one run", "mlflow.json", "the sweep's run", "the log's end"])
def test_lost_runs_are_made_again_with_every_number(folder, loss):
    before, runs = shown(folder), runs_of(folder)
    for name, run in runs.items():
        if loss == "all runs" or name == {"one run": "t0000", "the sweep's run": ""}.get(loss):
            client().delete_run(run.info.run_id)
    if loss == "mlflow.json":
        (folder.path / "mlflow.json").unlink()
    if loss == "the log's end":
        replace(Sent.read(folder), position=folder.log.size - 3).write(folder)
    assert sync(folder)
    assert shown(folder) == before
    after = runs_of(folder)
    assert {run.data.tags["mlflow.parentRunId"] for name, run in after.items() if name} == {after[""].info.run_id}


acts = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(["t0000", "t0001"])),
    st.tuples(st.just("evaluate"), st.sampled_from(["t0000", "t0001"]), st.integers(1, 9)),
    st.tuples(st.just("end"), st.sampled_from(["t0000", "t0001"]), st.sampled_from(["finished", "pruned", "failed"])),
    st.tuples(st.just("crash")),
    st.tuples(st.just("send"), st.integers(1, 4)),
)
numbers = iter(range(1000))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(acts, min_size=4, max_size=20))
def test_after_any_history_mlflow_shows_the_state(store, history):
    sweep = LoggedSweep(store / "sweeps", f"history{next(numbers)}", trials=2)
    copy = SweepCopy(sweep.folder)
    for act, *details in history:
        time.sleep(0.002)  # a log refuses the same line twice
        trial = sweep.trials.get(details[0]) if details and act != "send" else None
        running = trial is not None and trial.status == "running"
        match act:
            case "start" if trial is None or trial.status == "stopped":
                if trial is not None or details[0] == f"t{len(sweep.trials):04d}":
                    sweep.start(details[0], {}, config())
            case "evaluate" if running:
                sweep.evaluate(details[0], 100 * (1 + len(trial.evaluations)), float(details[1]))
            case "end" if running and (details[1] == "failed" or trial.score is not None):
                sweep.end(*details)
            case "crash":
                sweep.close("interrupted")
                sweep = LoggedSweep(store / "sweeps", sweep.folder.name)
                copy = SweepCopy(sweep.folder)
            case "send":
                copy.catch_up(details[0])
    time.sleep(0.002)
    sweep.close("interrupted")
    assert sync(sweep.folder)
    state, runs = sweep.folder.state(), runs_of(sweep.folder)
    assert runs.pop("").data.tags.get("gensweep.best_score") == (state.best and state.best.trial)
    tags = {name: run.data.tags for name, run in runs.items()}
    assert {name: each["gensweep.status"] for name, each in tags.items()} == {
        name: trial.status for name, trial in state.trials.items()
    }
    starred = {name for name, each in tags.items() if "gensweep.best" in each}
    assert starred == {trial.trial for trial in state.ranking[:1]}
    assert "RUNNING" not in [run.info.status for run in runs.values()]


def test_a_refused_record_does_not_hold_up_the_others(store, caplog):
    sweep = LoggedSweep(store / "sweeps", "refused")
    sweep.start("t0000", {}, {f"p{i}": {"x": i} for i in range(230)} | {"long": "y" * 9000})
    sweep.start("t0001", {}, config())
    sweep.progress("t0001", 1, **{f"m{i}": float(i) for i in range(1700)})
    sweep.start("t0002", {}, config())
    sweep.progress("t0002", 10, **{"bad\nname!": 1.0})
    sweep.close()
    assert sync(sweep.folder)
    runs = runs_of(sweep.folder)
    assert (len(runs["t0000"].data.params), len(runs["t0001"].data.metrics)) == (231, 1700)
    assert "MLflow refused a record of t0002" in caplog.text


def test_an_unreadable_picture_or_checkpoint_is_told_and_holds_nothing_up(store, caplog):
    folder = play(store, "damaged", keep_best=2)
    (folder.path / "pictures/t0000/000000000100-samples.png").write_bytes(b"")
    (folder.path / "checkpoints/t0000/000000000200/checkpoint.json").write_text('{"metadata": {"fam')
    assert sync(folder)
    assert "000000000100-samples.png cannot be read" in caplog.text
    assert "000000000200 is missing or damaged (Unterminated string" in caplog.text
    assert [*Sent.read(folder).models] == ["t0001"]
    assert runs_of(folder)["t0000"].data.tags["gensweep.objective"] == "8.0"


def test_a_checkpoint_in_a_bucket_is_named_and_not_copied(store, s3):
    sweep, made = LoggedSweep(store / "sweeps", "remote"), store / "made"
    made.mkdir(exist_ok=True)
    (made / "checkpoint.json").write_text("{}")
    sweep.folder.create({"sweep": {}, "storage": s3.url("")})
    sweep.start("t0000", {}, config())
    sweep.evaluate("t0000", 100, 1.0, made)
    sweep.end("t0000")
    sweep.close()
    assert sync(sweep.folder)
    run = runs_of(sweep.folder)["t0000"]
    assert run.data.tags["gensweep.checkpoint"] == below(s3.url("remote"), "checkpoints/t0000/000000000100")
    assert Sent.read(sweep.folder).models == {}


@pytest.mark.mlflow
@pytest.mark.parametrize("name", ["#1", "50%", "what?", 'a "b"'])
def test_a_folder_that_mlflow_cannot_work_in_is_named(tmp_path, monkeypatch, capsys, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert not sync(play(tmp_path / name, "odd"))
    (line,) = capsys.readouterr().err.splitlines()
    assert f"MLflow cannot use {tmp_path / name}" in line
    assert [each.name for each in tmp_path.iterdir()] == [name]
