"""Sweeps and trials by the names that users give them, read from the logs of their folders."""

import shutil
from uuid import uuid4

import pytest
from logged import LoggedSweep
from made_up import diffusion, gan, project, write_sweep

from gensweep.errors import ConfigError, GensweepError, NothingToCompareError
from gensweep.remote_folder import below
from gensweep.sweep.events import Paced
from gensweep.sweep.storage import held_storage
from gensweep.sweep.stored_sweeps import (
    find_sweep,
    find_trial,
    load_sweeps,
    stored_config,
    trial_config,
)
from gensweep.tracking.checkpoints import checkpoint_folder


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Three sweeps, one of which has no score."""
    with project(tmp_path_factory.mktemp("here")) as folder:
        with pytest.raises(NothingToCompareError, match="gensweep tune"):
            load_sweeps()
        write_sweep(folder, "ddpm", diffusion, 3, seed=2, rungs=2)
        write_sweep(folder, "many", gan, 13, rungs=1, pictures=False)
        write_sweep(folder, "broken", gan, 1, failing=0)
        yield folder


def test_sweeps_are_listed_newest_first(here):
    assert [sweep.name for sweep in load_sweeps()] == ["broken", "many", "ddpm"]
    assert [sweep.name for sweep in load_sweeps(["ddpm", "many", "ddpm"])] == ["ddpm", "many"]
    assert find_sweep().name == "broken"


@pytest.mark.parametrize("name", ["ddpm", "ddpm/t0001", "sweeps/ddpm/t0001", "{here}/sweeps/ddpm", "ddpm/"])
def test_all_ways_to_name_a_trial(here, name):
    found = find_trial(name.format(here=here))
    wanted = find_sweep("ddpm").trials[1] if "t0001" in name else find_sweep("ddpm").best
    assert (found.name, found.score) == (wanted.name, wanted.score)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dpdm", "did you mean 'ddpm'"),
        ("ddpm/t9999", "ddpm has the trials t0000, t0001, t0002"),
        ("many/t99", r"has the trials t0000, .*, t0011, \.\.\.; see: gensweep trials many"),
        ("0123456789abcdef", "is not a sweep or run"),
        ("nowhere/ddpm", "is not a sweep or run; did you mean 'ddpm'"),
    ],
)
def test_unknown_runs_say_what_there_is(here, name, message):
    with pytest.raises(ConfigError, match=message):
        find_trial(name)


def test_a_checkpoint_is_found_by_folder_and_by_run(here):
    folder = checkpoint_folder("ddpm")
    assert (folder / "checkpoint.json").is_file()
    assert checkpoint_folder(str(folder)) == folder
    with pytest.raises(ConfigError, match="has no checkpoint"):
        checkpoint_folder(str(here))


def test_a_checkpoint_that_is_gone_says_what_to_do(here):
    trial = find_trial("many/t0003")
    shutil.rmtree(trial.checkpoint)
    with pytest.raises(GensweepError, match=r"is missing.*gensweep train --from-run many/t0003"):
        checkpoint_folder("many/t0003")


def test_a_trial_that_runs_has_its_best_checkpoint_so_far(here):
    sweep = LoggedSweep(here / "sweeps", "going")
    with sweep.folder.locked():
        sweep.start("t0000")
        with pytest.raises(GensweepError, match=r"t0000 \(running\) has no score yet"):
            checkpoint_folder("going/t0000")
        for images, value, expected in ((100, 5.0, 100), (200, 6.0, 100), (300, 4.0, 300)):
            folder = here / "checkpoints" / str(images)
            folder.mkdir(parents=True)
            (folder / "checkpoint.json").write_text("{}")
            sweep.evaluate("t0000", images, value, folder)
            assert checkpoint_folder("going/t0000") == sweep.folder.path / f"checkpoints/t0000/{expected:012d}"
        assert find_trial("going").status == "running"
    shutil.rmtree(sweep.folder.path)


def test_a_sweep_whose_driver_was_lost_is_interrupted(tmp_path):
    sweep = LoggedSweep(tmp_path, "lost")
    sweep.start("t0000")
    size = sweep.folder.log.size
    found = find_sweep("lost", tmp_path)
    assert (found.state.status, found.trials[0].status, sweep.folder.log.size) == ("interrupted", "stopped", size)


def test_a_stored_setting_that_is_gone_names_its_file_and_version(tmp_path):
    settings = {"name": "old", "base": {"family": {"kind": "flow"}}, "rungs": 3}
    sweep = LoggedSweep(tmp_path, "old", settings=settings, tags={"gensweep.versions": '{"gensweep": "0.9"}'})
    with pytest.raises(ConfigError, match=r"old/sweep\.json by gensweep 0\.9: .*rungs"):
        stored_config(sweep.folder)


def test_a_time_limited_training_has_the_images_it_reached(tmp_path):
    sweep = LoggedSweep(tmp_path, "timed")
    sweep.start("t0000", config={"training": {"images": 10**12, "device_seconds": 60.0}, "family": {"kind": "gan"}})
    sweep.add(Paced("t0000", 4096, 70.5))
    sweep.evaluate("t0000", 4096, 5.0)
    sweep.end("t0000")
    sweep.close()
    trial = find_trial("timed", tmp_path)
    assert trial_config(trial)["training"] == {"images": 4096, "device_seconds": None}


def test_a_damaged_log_hides_no_other_sweep(tmp_path, caplog):
    for name in ("good", "damaged"):
        LoggedSweep(tmp_path, name).close()
    with (tmp_path / "damaged" / "events.jsonl").open("a") as log:
        log.write("no event\n")
    assert [sweep.name for sweep in load_sweeps(root=tmp_path)] == ["good"]
    assert "damaged was skipped" in caplog.text


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_sweep_in_a_storage_is_read_from_an_up_to_date_copy(here, s3, tmp_path, place):
    storage, source = str(tmp_path / "there") if place == "folder" else s3.url(uuid4().hex[:6]), tmp_path / "source"
    source.mkdir()
    (source / "checkpoint.json").write_text("{}")
    sweep = LoggedSweep(tmp_path / "sweeps", "far")
    sweep.start("t0000")
    url = below(storage, "far")
    for images in (100, 200):
        with held_storage(sweep.folder, storage, {}):
            sweep.evaluate("t0000", images, 1.0 / images, source)
        assert find_trial(below(url, "t0000")).images == images
    assert (find_sweep(url).name, find_sweep(url).best.name) == ("far", "far/t0000")
    assert (checkpoint_folder(url) / "checkpoint.json").is_file()
    with pytest.raises(ConfigError, match="contains no sweep"):
        find_sweep(below(storage, "near") if place == "bucket" else "file:///nowhere/far")
