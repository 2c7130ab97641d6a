"""Drivers that are killed or interrupted, and what the next session makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import torch
from jobs import count
from list_reporter import ListReporter
from optuna.trial import TrialState
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.events import Evaluated, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.run import run_plan
from gensweep.training.trial import WorkerContext

pytestmark = pytest.mark.usefixtures("ray_cluster", "no_leak")

CONFIGS = [{"steps": 2}, {"steps": 4}, {"steps": 4}]


def start(root):
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path]), "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    with (root / "output").open("w") as output:
        return subprocess.Popen(
            [sys.executable, str(here / "driver.py"), str(root)],
            env=environment,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def wait_for_checkpoint(root, trial, images, seconds=120):
    """Until that trial has that checkpoint on record."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        folder = SweepFolder(root, "a")
        known = folder.state().trials.get(trial)
        if known is not None and images in known.evaluations:
            return
        time.sleep(0.05)
    raise AssertionError(f"{trial} did not come to {images}")


def resumed(root, memory):
    again = plan(trials=3, configs=CONFIGS, resources=Resources(concurrent=1))
    return run_plan(again, [memory], root=root, resume=True)


def undisturbed_sum(config, folder):
    """The last checksum of a trial that runs alone, without Ray."""
    reporter = ListReporter()
    count(config, WorkerContext(0, 1, torch.device("cpu"), folder), reporter)
    return reporter.checkpoints[-1][0].signals["sum"]


def test_a_driver_killed_in_mid_sweep_loses_no_finished_trial_and_one_interval_of_the_running_one(tmp_path):
    driver = start(tmp_path)
    try:
        wait_for_checkpoint(tmp_path, "t0001", 200)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    before = SweepFolder(tmp_path, "a").state().trials
    assert before["t0000"].status == "finished"
    assert before["t0001"].status == "running"

    memory = Memory()
    result = resumed(tmp_path, memory)
    trials = list(result.state.trials.values())
    assert [t.status for t in trials] == ["finished"] * 3
    assert trials[0] == before["t0000"]
    assert [s.trial for s in memory.of(Started)] == ["t0001", "t0002"]
    images = [e.evaluation.images for e in memory.of(Evaluated) if e.trial == "t0001"]
    assert images == [i for i in (100, 200, 300, 400) if i not in before["t0001"].evaluations]
    # The sum depends on every step of a trial: the resumed one equals one that was never disturbed.
    sums = [undisturbed_sum(config, tmp_path) for config in CONFIGS]
    assert [t.best.evaluation.signals["sum"] for t in trials] == sums
    told = optuna.load_study(study_name="a", storage=f"sqlite:///{tmp_path / 'a' / 'optuna.db'}").trials
    assert [t.state for t in told] == [TrialState.COMPLETE] * 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_stops_cleanly_and_goes_on(tmp_path, number):
    driver = start(tmp_path)
    wait_for_checkpoint(tmp_path, "t0001", 100)
    os.killpg(driver.pid, number) if number == signal.SIGINT else os.kill(driver.pid, number)
    driver.wait(timeout=60)
    output = (tmp_path / "output").read_text()
    assert driver.returncode == 130, output
    assert output == ""
    before = SweepFolder(tmp_path, "a").state().trials
    assert {t: r.status for t, r in before.items()} == {"t0000": "finished", "t0001": "stopped"}
    assert before["t0001"].checkpoints

    memory = Memory()
    result = resumed(tmp_path, memory)
    trials = list(result.state.trials.values())
    assert [t.status for t in trials] == ["finished"] * 3
    assert [s.trial for s in memory.of(Started)] == ["t0001", "t0002"]
