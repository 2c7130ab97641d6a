"""The commands of the README, one after the other, on a tiny sweep of both families in a folder of its own.

The sweep runs as a process of its own, as a person starts it; what looks at its results runs in this one.  Every path
holds what URLs, shells and Python take for something else, and the sweep begins while another one has all cores.
"""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typed_commands import HANGS, call, foreign

from gensweep.api import sweeps
from gensweep.build.costs import TrialCosts
from gensweep.config.sweep_config import Resources
from gensweep.machine import usable_cores
from gensweep.run.core_claims import claimed_share, other_claims
from gensweep.run.planning import plan_sweep
from gensweep.sweep.folder import SweepFolder

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]

SPACE = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
STRANGE = "a b #1 100% %20 what? it's é ☃"
PROJECT = "a b it's é ☃"  # MLflow reads #, ? and % in its folder as parts of a URI
CHANGES = [
    "search.trials=2",
    "search.sampler.kind=random",
    "resources.concurrent=1",
    "resources.workers=2",
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
def begun(tmp_path_factory):
    """Where a sweep ran, with a umask that lets everybody write, and what it said; it had to wait for cores."""
    folder = tmp_path_factory.mktemp("user") / PROJECT
    pictures = folder / f"data {STRANGE}"
    rng = np.random.default_rng(0)
    for name in ("cat", STRANGE):
        (pictures / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / name / f"{index} {STRANGE}.png")
    words = ["tune", str(SPACE), "--storage", f"kept {STRANGE}", "--report", "live.html", *TINY]
    words += ["--set=data.kind=image_folder", f"--set=data.path={json.dumps(str(pictures))}"]
    environment = {key: value for key, value in os.environ.items() if not foreign(key)}
    cores, said = usable_cores(), []
    with claimed_share("first", Resources(cpus_per_worker=cores), threading.Event()):
        tuning = subprocess.Popen(
            ["sh", "-c", 'umask 0; exec "$@"', "sh", sys.executable, "-m", "gensweep", *words],
            cwd=folder,
            env=environment | {"GENSWEEP_CACHE": str(folder / f"cache {STRANGE}")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tuning.stderr is not None
        for line in tuning.stderr:
            said.append(line)
            if "waits for" in line:
                break
        assert not SweepFolder(folder / "sweeps", "quickstart").exists
    out, rest = tuning.communicate(timeout=HANGS)
    assert tuning.returncode == 0, "".join(said) + rest
    assert out == ""
    assert "Traceback" not in rest
    return folder, said[-1], rest


@pytest.fixture(scope="module")
def folder(begun):
    """Where the sweep ran."""
    return begun[0]


@pytest.fixture(scope="module")
def look(folder, tmp_path_factory):
    """A function that runs a command here, in the folder of the sweep, and returns what it printed."""
    plain = tmp_path_factory.mktemp("look") / "plain"  # a URI of the database cannot hold the strange name
    plain.symlink_to(folder)
    return partial(call, plain)


def test_the_live_report_ends_with_all_pictures(folder):
    page = (folder / "live.html").read_text(encoding="utf-8")
    assert "data-reload" not in page
    assert page.count('alt="Samples of quickstart/t0001"><small>') == 2


@pytest.fixture(scope="module")
def comparison(look):
    return json.loads(look("best", "--compare", "--format", "json").out)


def test_a_sweep_waits_for_free_cores_and_names_their_owner(begun):
    _, waits, rest = begun
    cores = usable_cores()
    told = f"sweep first (process {os.getpid()}) uses {cores} of this machine's {cores} cores: quickstart waits for"
    assert told in waits
    assert "quickstart uses 2" in rest  # a trial has two workers
    assert other_claims() == []


def test_trials_lists_every_trial_once(look):
    rows = json.loads(look("trials", "quickstart", "--format", "json").out)
    assert [row["trial"] for row in rows] == ["t0000", "t0001"]
    assert all({"trial", "status", "objective", "images", "params"} <= set(row) for row in rows)
    assert {row["status"] for row in rows} <= {"finished", "pruned"}


@pytest.mark.filterwarnings("ignore")  # MLflow's imports and queries warn of their own
def test_mlflow_has_a_parent_and_nested_children_with_pictures(look, comparison):
    import mlflow

    (plain,) = look.args
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{plain / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("gensweep")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert parents[0].info.status == "FINISHED"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parents[0].info.run_id}
    assert len(children) == 2
    best = next(run for run in children if run.data.tags["gensweep.trial"] == comparison["entries"][0]["trial"])
    assert best.data.params["training.images"] == "128"
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
    arguments = ["evaluate", "quickstart", "--ema", "0.25,1,raw", "--format", "json"]
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
        (["tune", SPACE, "--name", "x", "--set", "diffusion.schedule.kind=cosin"], 2, ["did you mean 'cosine'?"]),
        (["tune", SPACE, "--name", "x", "--set", "resources.workers=64"], 2, ["64", "CPU"]),
        (["tune", SPACE, "--name", "x", *INCEPTION], 2, ["nowhere.pth"]),
        (["sample", "nothing"], 2, ["nothing"]),
        (["sample", "quickstart", "--class", "dog"], 2, ["'dog'"]),
    ],
)
def test_mistakes_are_told_in_a_line(folder, look, arguments, code, words):
    err = look(*arguments, code=code).err
    assert all(word in err for word in words), err
    assert not (folder / "sweeps" / "x").exists()


def test_train_from_run_takes_the_trials_configuration(comparison, look, monkeypatch):
    asked = []
    monkeypatch.setattr(sweeps, "run_sweep", lambda sweep, **_: asked.append(sweep) or SimpleNamespace(exit_code=0))
    entry = comparison["entries"][0]
    look("train", "--from-run", f"{entry['sweep']}/{entry['trial']}", "--name", "again", "--workers", "2")
    (sweep,) = asked
    assert (sweep.name, sweep.search.trials, sweep.resources.workers) == ("again", 1, 2)
    best = json.loads(look("best", "quickstart", "--format", "json").out)
    assert plan_sweep(sweep, TrialCosts()).configure({}) == best["config"]


def test_a_dry_run_tells_what_would_be_and_does_nothing(folder, look):
    repeats = "search.repeats={top: 1, seeds: 3}"
    given = ("--set", repeats, "--name", "dry", "--dry-run", "--format", "json")
    shown = json.loads(look("tune", SPACE, *TINY, *given).out)
    assert shown["repeats"] == 3
    assert {row["name"] for row in shown["parameters"]} >= {"family.kind", "diffusion.timesteps", "gan.loss.kind"}
    assert len(shown["samples"]) == 5
    assert min(row["parameters"] for row in shown["corners"]) > 10_000
    assert shown["resources"]["concurrent_trials"] >= 1
    assert 0 < shown["hours"]["low"] <= shown["hours"]["high"]
    assert shown["places"]["sweep folder"].endswith("sweeps/dry")
    assert not (folder / "sweeps" / "dry").exists()


def test_files_are_where_asked_and_writable_by_the_user_only(folder, look):
    best = json.loads(look("best", "quickstart", "--format", "json").out)
    assert (Path(best["checkpoint"]) / "state.safetensors").is_file()
    assert [*(folder / f"kept {STRANGE}" / "quickstart" / "checkpoints").rglob("state.safetensors")]
    look("sample", "quickstart", "-n", "2", "-o", f"out {STRANGE}")
    assert len([*(folder / f"out {STRANGE}").glob("*.png")]) == 2
    # MLflow makes a folder by the encoded name of this one, and puts nothing there.
    assert [each.name for each in folder.parent.iterdir() if any(each.iterdir())] == [PROJECT]
    made = [folder / name for name in ("sweeps", "mlruns", "mlflow.db", f"kept {STRANGE}", f"cache {STRANGE}")]
    paths = [each for top in made for each in (top, *top.rglob("*")) if not each.is_symlink()]
    assert [str(each) for each in paths if each.stat().st_mode & 0o022] == []
