"""The commands of the README, one after the other, on a tiny sweep of both families in a folder of its own.

What trains runs as a process of its own, as a person starts it; what looks at the results runs in this one.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed_commands import call, start

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]

SPACE = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
CHANGES = [
    "search.trials=4",
    "search.sampler.kind=random",
    "budget={images: 128}",
    "training.batch_size=16",
    "evaluation.at=[0.5]",
    "evaluation.samples=16",
    "evaluation.batch_size=16",
    "evaluation.extractor.resolution=32",
]
TINY = [f"--set={change}" for change in CHANGES]
INCEPTION = ["--set", "evaluation.extractor.kind=inception", "--set", "evaluation.extractor.weights=nowhere.pth"]


def picture(file):
    with Image.open(file) as image:
        return np.asarray(image, dtype=np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("user")
    assert start(place, "tune", SPACE, *TINY).out == ""
    return place


@pytest.fixture(scope="module")
def look(folder):
    """A function that runs a command here, in the folder of the sweep, and returns what it printed."""
    return partial(call, folder)


@pytest.fixture(scope="module")
def comparison(look):
    return json.loads(look("best", "--compare", "--format", "json").out)


def test_the_verdict_has_the_documented_shape(comparison):
    assert [sweep if isinstance(sweep, str) else sweep["name"] for sweep in comparison["sweeps"]] == ["quickstart"]
    entries = comparison["entries"]
    assert [entry["rank"] for entry in entries] == list(range(1, len(entries) + 1))
    values = [entry["objective"]["value"] for entry in entries]
    assert values == sorted(values)
    for entry in entries:
        assert {
            "rank", "sweep", "trial", "run_id", "family", "objective", "cost", "params", "checkpoint", "status",
        } <= set(entry)  # fmt: skip
        assert {"metric", "value", "identity"} <= set(entry["objective"])
        assert {"images", "train_seconds", "sample_seconds", "params"} <= set(entry["cost"])
        assert entry["objective"]["identity"] == entries[0]["objective"]["identity"]
    assert {entry["family"] for entry in entries} <= {"diffusion", "gan"}


def test_the_report_is_one_offline_file(folder, comparison):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "default-src 'none'" in text
    assert text.count("<script") == 1
    assert "<script>" in text
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_trials_lists_every_trial_once(look):
    rows = json.loads(look("trials", "quickstart", "--format", "json").out)
    assert [row["trial"] for row in rows] == ["t0000", "t0001", "t0002", "t0003"]
    assert all({"trial", "run_id", "status", "objective", "images", "params"} <= set(row) for row in rows)
    assert {row["status"] for row in rows} <= {"finished", "pruned"}


@pytest.mark.filterwarnings("ignore")  # MLflow's imports and queries warn of their own
def test_mlflow_has_a_parent_and_nested_children_with_pictures(folder, comparison):
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gensweep")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parents[0].info.run_id}
    assert len(children) == 4
    best = next(run for run in children if run.info.run_id == comparison["entries"][0]["run_id"])
    assert best.data.params["training.images"] == "128"
    assert best.data.params["training.precision"] in ("float32", "bfloat16")  # what `auto` means was measured
    assert next(metric.step for metric in client.get_metric_history(best.info.run_id, "fd")) == 64
    assert client.list_artifacts(best.info.run_id, "images")


def test_sample_draws_the_same_images_for_any_batch_size(folder, look):
    look("sample", "quickstart", "-n", "9", "-o", "grid.png")
    assert picture(folder / "grid.png").shape[0] > 16 * 3
    for name, batch in (("one", "1"), ("all", "9")):
        look("sample", "quickstart", "-n", "5", "--batch", batch, "-o", name)
    for index in range(5):
        first, second = (picture(folder / name / f"{index:06d}.png") for name in ("one", "all"))
        assert np.abs(first - second).max() <= 2


def test_the_average_is_chosen_after_training_and_scored_on_fresh_noise(look):
    arguments = ["best", "quickstart", "--try", "ema=0.25,1,raw", "--format", "json"]
    rows = json.loads(look(*arguments).out)
    assert [row["weights"] for row in rows] == ["ema@0.25", "ema", "raw"]
    assert {row["identity"]["weights"] for row in rows} == {"ema@0.25", "ema", "raw"}
    assert json.loads(look(*arguments).out) == rows
    judged = json.loads(look("best", "quickstart", "--format", "json").out)["objective"]
    assert judged["identity"] == rows[1]["identity"]
    assert judged["value"] == pytest.approx(rows[1]["value"], rel=1e-3)
    (fresh,) = json.loads(look("evaluate", "quickstart", "--seed", "1", "--format", "json").out)
    # So small a GAN may draw one grey whatever the noise is, so the score need not be another one.
    assert (fresh["seed"], fresh["identity"]) == (1, rows[1]["identity"])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tune", SPACE], 2, ["gensweep tune --resume quickstart", "gensweep tune --extend quickstart --trials N"]),
        (["tune", "--resume", "nothing"], 2, ["there is no sweep 'nothing'", "quickstart"]),
        (["tune", SPACE, "--name", "x", "--set", "diffusion.schedule.kind=cosin"], 2, ["did you mean 'cosine'?"]),
        (["tune", SPACE, "--name", "x", "--set", "resources.workers=64"], 2, ["64", "CPU"]),
        (["tune", SPACE, "--name", "x", *INCEPTION], 2, ["nowhere.pth"]),
        (["train"], 2, ["Give either FILE or --from-run RUN"]),
        (["sample", "nothing"], 1, ["nothing"]),
        (["sample", "quickstart", "-o", "grid.jpg"], 2, ["grid.jpg", ".png"]),
        (["sample", "quickstart", "--class", "dog"], 2, ["'dog'"]),
        (["trials", "nothing"], 1, ["nothing"]),
    ],
)
def test_mistakes_are_told_in_a_line(folder, look, arguments, code, words):
    err = look(*arguments, code=code).err
    assert all(word in err for word in words), err
    assert not (folder / "sweeps" / "x").exists()


def test_a_trial_can_be_trained_again_with_two_workers(folder, comparison, look):
    entry = comparison["entries"][0]
    run = f"{entry['sweep']}/{entry['trial']}"
    assert start(folder, "train", "--from-run", run, "--name", "again", "--workers", "2").out == ""
    rows = json.loads(look("trials", "again", "--format", "json").out)
    assert [row["status"] for row in rows] == ["finished"]
    assert rows[0]["images"] == 128


def test_a_dry_run_tells_what_would_be_and_does_nothing(folder, look):
    shown = json.loads(look("tune", SPACE, *TINY, "--name", "dry", "--dry-run", "--format", "json").out)
    assert {row["name"] for row in shown["parameters"]} >= {"family.kind", "diffusion.timesteps", "gan.loss.kind"}
    assert len(shown["samples"]) == 5
    assert min(row["parameters"] for row in shown["corners"]) > 10_000
    assert shown["resources"]["concurrent_trials"] >= 1
    assert 0 < shown["hours"]["low"] <= shown["hours"]["high"]
    assert shown["places"]["sweep folder"].endswith("sweeps/dry")
    assert not (folder / "sweeps" / "dry").exists()


def test_a_smoke_test_leaves_no_trace_in_the_comparison(folder, comparison, look):
    assert "passed" in start(folder, "tune", SPACE, *TINY, "--smoke").err
    again = json.loads(look("best", "--compare", "--format", "json", "--no-html").out)
    assert "quickstart-smoke" not in {entry["sweep"] for entry in again["entries"]}


def test_an_empty_folder_has_nothing_to_compare(tmp_path):
    assert "gensweep tune" in call(tmp_path, "best", "--compare", code=4).err
