"""Processes that die at awkward places: nothing hangs or stays reserved, and the scores are those of a quiet run.

tests/faults/test_processes.py kills each kind of them in sweeps that are started from the command line.
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
    """Kills the first trial actor while its workers start, and the queue and the next one at once after 200 images."""

    def __init__(self):
        super().__init__()
        self.killed = []

    def __call__(self, event, state):
        match event:
            case Suggested(trial="t0000"):
                threading.Thread(target=self.kill_early).start()
            case Evaluated(trial="t0000") if event.evaluation.images == 200 and len(self.killed) == 1:
                self.kill("TrialQueue", "TrialRunner")
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
    """Kills the actor of t0000 at one of its checkpoints, and that of t0001 at one and whenever it starts again."""

    def __call__(self, event, state):
        super().__call__(event, state)
        match event:
            case Evaluated(trial="t0000") if event.evaluation.images == 300:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)
            case Evaluated(trial="t0001") if event.evaluation.images == 200:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)
            case Started(trial="t0001") if state.trials["t0001"].losses:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)


def test_a_trial_actor_killed_as_its_workers_start_and_then_with_the_queue_at_once_keeps_no_slot(tmp_path):
    killer = Killer()
    # All CPUs: the next trial actor's workers find room only once those of the dead one are gone.
    whole = plan(
        trials=2, configs=[{"steps_file": str(tmp_path / "steps")}, {}], resources=Resources(cpus_per_worker=4)
    )
    result = run_plan(whole, [killer], root=tmp_path)
    assert len(killer.killed) == 3
    killed, quiet = result.state.trials.values()
    assert [killed.status, quiet.status] == ["finished", "finished"], [killed.error, quiet.error]
    assert killed.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]
    assert [e.evaluation.images for e in killer.of(Evaluated) if e.trial == "t0000"] == [100, 200, 300, 400]
    assert (tmp_path / "steps").read_text().split() == ["1", "2", "3", "4"]  # none was done again


def test_workers_that_hang_are_ended_with_their_trial(tmp_path):
    class Impatient(Memory):
        def __call__(self, event, state):
            super().__call__(event, state)
            if isinstance(event, Progressed) and event.images == 250:
                os.kill(os.getpid(), signal.SIGTERM)

    result = run_plan(plan(trials=1, configs=[{"hang_at": 3}]), [Impatient()], root=tmp_path)
    assert (result.state.status, [t.status for t in result.state.trials.values()]) == ("interrupted", ["stopped"])


def test_processes_lost_again_and_again_fail_a_trial_only_without_a_new_checkpoint_between_also_at_a_url(tmp_path):
    url, memory = f"file://{tmp_path}/store", Persistent()
    once = {"kill_at": 2, "once": str(tmp_path / "once"), "sleep": 0.3}
    configs = [once, {"sleep": 0.3}, {}]
    short = plan(configs=configs, resources=Resources(concurrent=1, retries=1))
    result = run_plan(short, [memory], root=tmp_path, storage=url)
    patient, worn_out, quiet = result.state.trials.values()
    assert [trial.status for trial in (patient, worn_out, quiet)] == ["finished", "failed", "finished"], patient.error
    assert "the trial's own process was lost" in worn_out.error
    assert "the last of 2 failures in a row without a new checkpoint" in worn_out.error
    assert worn_out.objective is not None  # what was measured before counts
    worker, actor = (lost for lost in memory.of(Lost) if lost.trial == patient.trial)
    assert worker.cause.startswith("worker lost")
    assert "the trial's own process was lost" in actor.cause
    assert worker.counts
    assert actor.counts
    assert [e.evaluation.images for e in memory.of(Evaluated) if e.trial == patient.trial] == [100, 200, 300, 400]
    assert patient.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]
    assert patient.best.uri == f"{url}/a/checkpoints/t0000/000000000400"
    for trial in (patient, quiet):
        stored = tmp_path / "store" / "a" / "checkpoints" / trial.trial
        assert [p.name for p in stored.iterdir()] == ["000000000400"]
        assert (fetch(trial.best.uri, tmp_path / trial.trial) / "state.json").is_file()
    assert not (tmp_path / "a" / "fetched").exists()  # the driver needs no checkpoint


def test_a_cause_outside_of_trials_stops_the_sweep_and_once_it_is_mended_they_end_as_if_nothing_had_been(tmp_path):
    away = {"missing": str(tmp_path / "data")}
    configs = [{"missing_once": str(tmp_path / "once")}, away, {}]
    settings = Resources(concurrent=1, retries=1, stop_after_failed=1)
    result = run_plan(plan(trials=3, configs=configs, resources=settings), root=tmp_path)
    assert (result.state.status, result.exit_code) == ("failed", 1)
    assert [t.status for t in result.state.trials.values()][:2] == ["finished", "failed"]
    assert "failed for a cause outside of them (the last one, t0001: File" in result.state.error
    assert result.retry_command == f"gensweep tune --retry a --sweeps {tmp_path}"
    (tmp_path / "data").mkdir()
    memory = Memory()
    again = run_plan(plan(trials=3, configs=configs, resources=settings), [memory], root=tmp_path, retry=Retry())
    assert (again.state.status, again.exit_code) == ("finished", 0)
    assert [event.trial for event in memory.of(Retried)] == ["t0001"]
    assert [e.evaluation.images for e in memory.of(Evaluated) if e.trial == "t0001"] == [300, 400]
    sums = [trial.best.evaluation.signals["sum"] for trial in again.state.trials.values()]
    assert len(sums) == 3
    assert len(set(sums)) == 1
