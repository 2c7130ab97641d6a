import io
from dataclasses import replace

import pytest
from logged import LoggedSweep
from made_up import diffusion, gan, write_sweep
from PIL import Image

from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.report.commands import reproduce_command
from gensweep.sweep.events import Paced
from gensweep.tracking.artifacts import metric_history, sample_grid, trial_config
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import (
    best_trial,
    checkpoint_folder,
    find_sweep,
    find_trial,
    load_sweeps,
)
from gensweep.tracking.store import client


@pytest.fixture(scope="module")
def sweeps(store):
    """Two sweeps with the same name, and one of another family, none of whose trials has a score."""
    with pytest.raises(NothingToCompareError, match="gensweep tune"):
        load_sweeps()
    write_sweep(store, "twice", diffusion, 2, seed=1, rungs=1, pictures=False)
    older = find_sweep("twice")
    (store / "sweeps" / "twice").rename(store / "sweeps" / "moved")
    write_sweep(store, "twice", diffusion, 3, seed=2, rungs=2)
    write_sweep(store, "broken", gan, 1, failing=0)
    return older


def test_a_name_means_the_newest_and_a_run_id_the_one(sweeps):
    assert len(find_sweep("twice").trials) == 3
    assert find_sweep(sweeps.run_id).run_id == sweeps.run_id
    assert [sweep.name for sweep in load_sweeps()] == ["broken", "twice", "twice"]
    newest = find_sweep("twice")
    assert [sweep.run_id for sweep in load_sweeps(["twice", newest.run_id, sweeps.run_id])] == [
        newest.run_id,
        sweeps.run_id,
    ]


def test_what_is_typed_means_a_sweep_and_its_trials_also_if_a_newer_one_has_its_name(sweeps):
    newer, older = (load_sweeps([run_id])[0] for run_id in (find_sweep("twice").run_id, sweeps.run_id))
    assert (newer.typed, newer.trials[1].typed) == ("twice", "twice/t0001")
    assert older.trials[1].name == "twice/t0001"
    assert find_sweep(older.typed).run_id == older.run_id
    assert find_trial(older.trials[1].typed).run_id == older.trials[1].run_id
    assert reproduce_command(older.trials[1]) == f"gensweep train --from-run {older.trials[1].run_id}"


def test_all_ways_to_name_a_trial(sweeps):
    sweep = find_sweep("twice")
    best, trial = best_trial(sweep), sweep.trials[1]
    assert find_trial("twice") == best == find_trial(sweep.run_id)
    for name in ("twice/t0001", trial.run_id, trial.run_id[:12], f"runs:/{trial.run_id}/checkpoint"):
        assert find_trial(name) == trial
    assert best.objective is not None
    assert best.objective.value == min(t.objective.value for t in sweep.trials if t.objective is not None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("twcie", "did you mean 'twice'"),
        ("twice/t9999", "twice has the trials t0000, t0001, t0002"),
        ("0123456789abcdef", "is not a sweep or run"),
    ],
)
def test_unknown_runs_say_what_there_is(sweeps, name, message):
    with pytest.raises(ConfigError, match=message):
        find_trial(name)


def test_a_sweep_without_a_score_has_no_best_trial(sweeps):
    with pytest.raises(NothingToCompareError, match="gensweep trials broken"):
        find_trial("broken")


def test_values_come_back_with_their_types(sweeps):
    trial = find_trial("twice/t0000")
    assert isinstance(trial.params["diffusion.timesteps"], int)
    assert isinstance(trial.params["optimizer.learning_rate"], float)
    assert trial_config(trial)["optimizer"]["learning_rate"] == trial.params["optimizer.learning_rate"]
    assert trial.cost.params == 1_500_000
    assert trial.cost.images == 60_000
    assert trial.cost.train_seconds is not None
    assert trial.family == "diffusion"


def test_a_checkpoint_is_found_by_folder_and_by_run(sweeps, store):
    folder = checkpoint_folder("twice")
    assert (folder / "checkpoint.json").is_file()
    assert checkpoint_folder(str(folder)) == folder
    with pytest.raises(ConfigError, match="holds no checkpoint"):
        checkpoint_folder(str(store))


def test_a_checkpoint_that_was_not_kept_says_what_to_do(sweeps):
    with pytest.raises(GensweepError, match=r"was not kept.*gensweep train --from-run"):
        checkpoint_folder(next(t.run_id for t in sweeps.trials if not t.best))


def test_a_trial_that_runs_has_its_best_checkpoint_so_far(store):
    sweep = LoggedSweep(store / "sweeps", "going")
    replay = Replay(sweep.folder)

    def best():
        while replay.catch_up():
            pass
        return checkpoint_folder("going/t0000")

    sweep.start("t0000")
    with pytest.raises(GensweepError, match=r"t0000 \(running\) has no score yet"):
        best()
    for images, value, expected in ((100, 5.0, 100), (200, 6.0, 100), (300, 4.0, 300)):
        folder = store / "checkpoints" / str(images)
        folder.mkdir(parents=True)
        (folder / "checkpoint.json").write_text("{}")
        sweep.evaluate("t0000", images, value, folder)
        assert best() == store / "checkpoints" / str(expected)
    assert find_trial("going").status == "running"


def test_the_grid_of_the_best_checkpoint_is_a_png(sweeps):
    grid = sample_grid(find_trial("twice"))
    assert grid is not None
    assert grid.startswith(b"\x89PNG")
    assert sample_grid(find_trial("broken/t0000")) is None


def test_a_training_that_was_bounded_in_time_is_on_record_with_the_images_that_it_came_to(store):
    sweep = LoggedSweep(store / "sweeps", "timed")
    sweep.start("t0000", config={"training": {"images": 10**12, "device_seconds": 60.0}, "family": {"kind": "gan"}})
    sweep.add(Paced("t0000", 4096, 70.5))
    sweep.evaluate("t0000", 4096, 5.0)
    sweep.end("t0000")
    sweep.file()
    trial = find_trial("timed")
    assert trial.length == 4096
    assert trial_config(trial)["training"] == {"images": 4096, "device_seconds": None}


def test_what_is_read_from_the_log_is_what_mlflow_has_for_other_machines(sweeps):
    trial = find_trial("twice")
    elsewhere = replace(trial, folder=None, checkpoint=None)
    assert trial_config(trial) == trial_config(elsewhere)
    assert metric_history(trial, "fd") == metric_history(elsewhere, "fd")
    pictures = [Image.open(io.BytesIO(sample_grid(each))) for each in (trial, elsewhere)]
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_a_configuration_that_would_run_something_is_damaged(sweeps, tmp_path):
    trial = replace(find_trial("twice/t0001"), folder=None)
    text = f"!!python/object/apply:builtins.open ['{tmp_path / 'opened'}', 'w']\n"
    client().log_text(trial.run_id, text, "config.yaml")
    with pytest.raises(GensweepError, match=r"config\.yaml of twice/t0001 in MLflow is damaged"):
        trial_config(trial)
    assert not (tmp_path / "opened").exists()
