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
from gensweep.sweep.events import Evaluated, Lost, Progressed, Retried, Started, Suggested
from gensweep.sweep.retrying import Retry
from gensweep.sweep.run import run_plan

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]


class Killer(Memory):
    """Kills one process of each of a trial's classes of actors, once it was evaluated after 200 images."""

    def __init__(self, victims):
        super().__init__()
        self.victims = victims
        self.killed = {}

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Evaluated) and event.evaluation.images == 200 and event.trial not in self.killed:
            self.killed[event.trial] = [pids(actor)[0] for actor in self.victims.get(event.trial, ())]
            for pid in self.killed[event.trial]:
                os.kill(pid, signal.SIGKILL)


class Persistent(Memory):
    """Kills the actor of t0000 at two of its checkpoints, and that of t0001 at one and whenever it starts again."""

    def __call__(self, event, state):
        super().__call__(event, state)
        match event:
            case Evaluated(trial="t0000") if event.evaluation.images in (100, 300):
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)
            case Evaluated(trial="t0001") if event.evaluation.images == 200:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)
            case Started(trial="t0001") if state.trials["t0001"].losses:
                os.kill(pids("TrialRunner")[0], signal.SIGKILL)


def test_a_queue_and_a_trial_actor_that_are_killed_at_once_keep_no_slot(tmp_path):
    killer = Killer({"t0000": ["TrialQueue", "TrialRunner"]})
    # All CPUs: the next trial actor's workers find room only once those of the dead one are gone.
    whole = plan(
        trials=2, configs=[{"steps_file": str(tmp_path / "steps")}, {}], resources=Resources(cpus_per_worker=4)
    )
    result = run_plan(whole, [killer], root=tmp_path)
    assert len(killer.killed["t0000"]) == 2
    killed, quiet = result.state.trials.values()
    assert [killed.status, quiet.status] == ["finished", "finished"], [killed.error, quiet.error]
    assert killed.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]
    assert [e.evaluation.images for e in killer.of(Evaluated) if e.trial == "t0000"] == [100, 200, 300, 400]
    assert (tmp_path / "steps").read_text().split() == ["1", "2", "3", "4"]  # none was done again


def test_a_trial_actor_killed_while_its_workers_start_leaves_nothing_behind(tmp_path):
    class Early(Memory):
        def __call__(self, event, state):
            if isinstance(event, Suggested):
                threading.Thread(target=kill).start()
            super().__call__(event, state)

    def kill():
        while not any("CPU" in e["bundles"][0] and e["state"] == "CREATED" for e in placement_group_table().values()):
            time.sleep(0.01)
        killed.append(pids("TrialRunner")[0])
        os.kill(killed[0], signal.SIGKILL)

    killed = []
    # All CPUs: the next trial actor's workers find room only once those of the dead one are gone.
    result = run_plan(plan(trials=1, resources=Resources(workers=2, cpus_per_worker=2)), [Early()], root=tmp_path)
    assert killed
    assert [t.status for t in result.state.trials.values()] == ["finished"]


def test_workers_that_hang_are_ended_with_their_trial(tmp_path):
    class Impatient(Memory):
        def __call__(self, event, state):
            super().__call__(event, state)
            if isinstance(event, Progressed) and event.images == 250:
                os.kill(os.getpid(), signal.SIGTERM)

    result = run_plan(plan(trials=1, configs=[{"hang_at": 3}]), [Impatient()], root=tmp_path)
    assert (result.state.status, [t.status for t in result.state.trials.values()]) == ("interrupted", ["stopped"])


def test_workers_lost_again_and_again_fail_the_trial_only_without_a_new_checkpoint_between(tmp_path):
    memory = Memory()
    configs = [{"die_at": 2}, {"die_at_each": str(tmp_path), "steps": 5}, {"steps": 5}]
    short = plan(trials=3, configs=configs, resources=Resources(concurrent=1, retries=1))
    result = run_plan(short, [memory], root=tmp_path)
    failed, patient, quiet = result.state.trials.values()
    assert [t.status for t in (failed, patient, quiet)] == ["failed", "finished", "finished"], patient.error
    assert failed.error.startswith("worker lost")
    assert "the last of 2 failures in a row without a new checkpoint" in failed.error
    assert failed.objective is not None  # what was measured before counts
    assert [lost.counts for lost in memory.of(Lost) if lost.trial == patient.trial] == [True] * 5
    assert patient.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]


def test_a_trial_actor_killed_again_and_again_fails_its_trial_only_without_a_new_checkpoint_between(tmp_path):
    configs = [{"sleep": 0.3}, {"sleep": 0.3}, {}]
    short = plan(trials=3, configs=configs, resources=Resources(concurrent=1, retries=1))
    result = run_plan(short, [Persistent()], root=tmp_path)
    killed, worn_out, quiet = result.state.trials.values()
    assert [t.status for t in (killed, worn_out, quiet)] == ["finished", "failed", "finished"], killed.error
    assert killed.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]
    assert "the trial's own process was lost" in worn_out.error


def test_a_cause_outside_of_trials_stops_the_sweep_and_once_it_is_mended_they_end_as_if_nothing_had_been(tmp_path):
    away = {"missing": str(tmp_path / "data")}
    configs = [{"missing_once": str(tmp_path / "once")}, away, away, {}]
    settings = Resources(concurrent=1, retries=1, stop_after_failed=2)
    result = run_plan(plan(configs=configs, resources=settings), root=tmp_path)
    assert (result.state.status, result.exit_code) == ("failed", 1)
    assert [t.status for t in result.state.trials.values()][:3] == ["finished", "failed", "failed"]
    assert result.state.error.startswith(
        "2 trials in a row failed for a cause outside of them (the last one, t0002: File"
    )
    assert result.retry_command == f"gensweep tune --retry a --sweeps {tmp_path}"
    (tmp_path / "data").mkdir()
    memory = Memory()
    again = run_plan(plan(configs=configs, resources=settings), [memory], root=tmp_path, retry=Retry())
    assert (again.state.status, again.exit_code) == ("finished", 0)
    assert [event.trial for event in memory.of(Retried)] == ["t0001", "t0002"]
    assert [e.evaluation.images for e in memory.of(Evaluated) if e.trial == "t0001"] == [300, 400]
    sums = [trial.best.evaluation.signals["sum"] for trial in again.state.trials.values()]
    assert len(sums) == 4
    assert len(set(sums)) == 1
