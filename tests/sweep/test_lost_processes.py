"""Processes that die at awkward places: nothing hangs or stays reserved, and the scores are those of a quiet run.

tests/faults/test_quick_half.py kills those between them in a sweep that is started from the command line.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from processes import pids
from ray.util.placement_group import placement_group_table
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.checkpoints import fetch
from gensweep.sweep.events import Evaluated, Lost, Progressed, Retried, Started, Suggested
from gensweep.sweep.retrying import Retry
from gensweep.sweep.run import run_plan

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]


def has_slot():
    """Whether a worker group has its place."""
    groups = [entry["bundles"] for entry in placement_group_table().values() if entry["state"] == "CREATED"]
    return any("CPU" in bundles[0] for bundles in groups)


class Killer(Memory):
    """Kills the first trial actor while its workers start, and the queue and the next one at once after 200 images.

    Interrupts the sweep as the last trial hangs.
    """

    def __init__(self):
        super().__init__()
        self.killed = []

    def __call__(self, event, state):
        match event:
            case Suggested(trial="t0000"):
                threading.Thread(target=self.kill_early).start()
            case Evaluated(trial="t0000") if event.evaluation.images == 200 and len(self.killed) == 1:
                self.kill("TrialQueue", "TrialRunner")
            case Progressed(trial="t0002") if event.images == 250:
                os.kill(os.getpid(), signal.SIGTERM)
        super().__call__(event, state)

    def kill_early(self):
        while not has_slot():
            time.sleep(0.01)
        self.kill("TrialRunner")

    def kill(self, *actors):
        found = [pids(actor)[0] for actor in actors]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        self.killed += found


class Persistent(Memory):
    """Mends what t0000 misses once it was missed, and kills its actor after 300 images and when it starts again."""

    def __init__(self, missing):
        super().__init__()
        self.missing = missing

    def __call__(self, event, state):
        super().__call__(event, state)
        match event:
            case Lost(trial="t0000") if "File" in event.cause:
                self.missing.mkdir()
            case Evaluated(trial="t0000") if event.evaluation.images == 300:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)
            case Started(trial="t0000") if 300 in state.trials["t0000"].evaluations:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)


def test_a_trial_actor_killed_as_its_workers_start_and_then_with_the_queue_at_once_keeps_no_slot(tmp_path):
    """The last trial hangs as the sweep is interrupted, and its workers are ended with it."""
    killer = Killer()
    configs = [{"steps_file": str(tmp_path / "steps")}, {}, {"hang_at": 3}]
    # All CPUs: the next trial actor's workers find room only once those of the dead one are gone.
    whole = plan(trials=3, configs=configs, resources=Resources(cpus_per_worker=4))
    result = run_plan(whole, [killer], root=tmp_path)
    assert len(killer.killed) == 3
    killed, quiet, hung = result.state.trials.values()
    assert [killed.status, quiet.status] == ["finished", "finished"], [killed.error, quiet.error]
    assert killed.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]
    assert [e.evaluation.images for e in killer.of(Evaluated) if e.trial == "t0000"] == [100, 200, 300, 400]
    assert (tmp_path / "steps").read_text().split() == ["1", "2", "3", "4"]  # none was done again
    assert (result.state.status, hung.status) == ("interrupted", "stopped")


def test_processes_and_files_lost_again_and_again_fail_a_trial_only_without_a_new_checkpoint_between(tmp_path):
    """A sweep with its checkpoints at a URL; once all is mended, trials end as if nothing had been."""
    url, missing, away = f"file://{tmp_path}/store", tmp_path / "missing", tmp_path / "away"
    memory, once = Persistent(missing), str(tmp_path / "once")
    configs = [{"kill_at": 2, "once": once, "missing": str(missing), "sleep": 0.3}, {"missing": str(away)}, {}]
    settings = Resources(concurrent=1, retries=1, stop_after_failed=2)
    short = plan(trials=3, configs=configs, resources=settings)
    result = run_plan(short, [memory], root=tmp_path, storage=url)
    assert (result.state.status, result.exit_code) == ("failed", 1)
    worn_out, lacking = list(result.state.trials.values())[:2]
    assert [trial.status for trial in (worn_out, lacking)] == ["failed", "failed"]
    worker, file, *actors = (lost for lost in memory.of(Lost) if lost.trial == worn_out.trial)
    assert worker.cause.startswith("worker lost")
    assert "File" in file.cause
    assert ["the trial's own process was lost" in actor.cause for actor in actors] == [True, True]
    assert all(lost.counts for lost in memory.of(Lost))
    assert [e.evaluation.images for e in memory.of(Evaluated) if e.trial == worn_out.trial] == [100, 200, 300]
    assert "the trial's own process was lost" in worn_out.error
    assert "the last of 2 failures in a row without a new checkpoint" in worn_out.error
    assert worn_out.objective is not None  # what was measured before counts
    assert "failed for a cause outside of them (the last one, t0001: File" in result.state.error
    assert result.retry_command == f"gensweep tune --retry a --sweeps {tmp_path}"

    away.mkdir()
    memory = Memory()
    again = run_plan(short, [memory], root=tmp_path, storage=url, retry=Retry())
    assert (again.state.status, again.exit_code) == ("finished", 0)
    assert [event.trial for event in memory.of(Retried)] == ["t0000", "t0001"]
    done = [(event.trial, event.evaluation.images) for event in memory.of(Evaluated)]
    assert done[:3] == [("t0000", 400), ("t0001", 300), ("t0001", 400)]
    trials = list(again.state.trials.values())
    sums = [trial.best.evaluation.signals["sum"] for trial in trials]
    assert len(sums) == 3
    assert len(set(sums)) == 1
    assert trials[0].best.uri == f"{url}/a/checkpoints/t0000/000000000400"
    for trial in trials:
        stored = tmp_path / "store" / "a" / "checkpoints" / trial.trial
        assert [p.name for p in stored.iterdir()] == ["000000000400"]
        assert (fetch(trial.best.uri, tmp_path / trial.trial) / "state.json").is_file()
    assert not (tmp_path / "a" / "fetched").exists()  # the driver needs no checkpoint
