"""A driver that is lost with its machine, and another machine that goes on from the storage."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from jobs import count
from list_reporter import ListReporter
from processes import environment_for_another_ray
from trivial_sweeps import plan

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError
from gensweep.remote_folder import RemoteFolder
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.run import run_plan
from gensweep.sweep.storage import adopt
from gensweep.training.reporter import WorkerContext

pytestmark = pytest.mark.usefixtures("ray_cluster", "no_leak")

CONFIGS = [{"steps": 2}, {"steps": 4}, {"steps": 4}]
#: Seconds until another process's Ray has trained some steps.
PATIENCE = 400


def wait_for_checkpoint(root, trial, images):
    """Until that trial has that checkpoint on record."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        known = SweepFolder(root, "a").state().trials.get(trial)
        if known is not None and images in known.evaluations:
            return
        time.sleep(0.05)
    raise AssertionError(f"{trial} did not come to {images}")


def undisturbed_sum(config, folder):
    """The last checksum of a trial that runs alone, without Ray."""
    reporter = ListReporter()
    count(config, WorkerContext(0, 1, torch.device("cpu"), folder), reporter)
    return reporter.checkpoints[-1][0].signals["sum"]


def test_a_sweep_whose_driver_and_folder_are_lost_goes_on_from_its_url_with_the_scores_of_an_undisturbed_one(
    tmp_path, s3, ray_cluster
):
    here, storage = Path(__file__).parent, s3.url(f"sweeps-{uuid4().hex[:6]}")
    environment = environment_for_another_ray()
    command = [sys.executable, str(here / "driver.py"), str(tmp_path / "here"), storage]
    driver = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        wait_for_checkpoint(tmp_path / "here", "t0001", 200)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    shutil.rmtree(tmp_path / "here")

    there, url = tmp_path / "there", s3.url(f"{storage.split('/')[3].partition('?')[0]}/a")
    assert adopt(there, url) == ("a", storage)
    again = plan(trials=3, configs=CONFIGS, resources=Resources(concurrent=1))
    trials = list(run_plan(again, root=there, storage=storage, resume=True).state.trials.values())
    assert [trial.status for trial in trials] == ["finished"] * 3
    sums = [undisturbed_sum(config, tmp_path) for config in CONFIGS]
    assert [trial.best.evaluation.signals["sum"] for trial in trials] == sums
    stored = {name.split("/")[1] for name in RemoteFolder(url).files() if name.startswith("checkpoints/")}
    assert stored == {"t0000", "t0001", "t0002"}
    with pytest.raises(ConfigError, match="holds another sweep"):
        run_plan(plan(trials=1), root=tmp_path / "elsewhere", storage=storage)
