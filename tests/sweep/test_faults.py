"""Processes that die at awkward places: nothing hangs or stays reserved, and the scores are those of a quiet run."""

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
from gensweep.sweep.events import Evaluated, Progressed, Started
from gensweep.sweep.run import run_plan

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]


ACTORS = ["RayTrainWorker", "TrialRunner", "TrainController", "SynchronizationActor", "TrialQueue"]


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


@pytest.fixture(scope="module")
def killed(ray_cluster, tmp_path_factory):
    """A sweep in which each trial but the last, which is quiet, loses another actor; and who killed it."""
    killer = Killer({f"t{number:04d}": [actor] for number, actor in enumerate(ACTORS)})
    configs = [{"sleep": 0.3}] * len(ACTORS) + [{}]
    sweep = plan(trials=len(configs), configs=configs, resources=Resources(workers=2, concurrent=1))
    return run_plan(sweep, [killer], root=tmp_path_factory.mktemp("killed")), killer


@pytest.mark.parametrize("actor", ACTORS)
def test_a_killed_actor_costs_at_most_one_checkpoint_interval(killed, actor):
    result, killer = killed
    *trials, quiet = result.state.trials.values()
    trial = trials[ACTORS.index(actor)]
    assert len(killer.killed[trial.trial]) == 1
    assert [trial.status, quiet.status] == ["finished", "finished"], [trial.error, quiet.error]
    # The sum depends on every step, so it shows that none was lost and none done twice.
    assert trial.best.evaluation.signals["sum"] == quiet.best.evaluation.signals["sum"]
    assert trial.rungs == quiet.rungs
    assert [e.evaluation.images for e in killer.of(Evaluated) if e.trial == trial.trial] == [100, 200, 300, 400]


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
            if isinstance(event, Started) and not self.of(Started):
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


def test_workers_lost_again_and_again_fail_the_trial(tmp_path):
    result = run_plan(plan(trials=2, configs=[{"die_at": 2}, {}]), root=tmp_path)
    assert [t.status for t in result.state.trials.values()] == ["failed", "finished"]
    assert result.state.trials["t0000"].error.startswith("worker lost")
    assert result.state.trials["t0000"].objective is not None  # what was measured before counts
