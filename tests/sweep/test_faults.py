"""Processes that die at awkward places: nothing hangs, nothing stays reserved."""

from __future__ import annotations

import os
import signal
import time

import pytest
from trivial_sweeps import Memory, plan

from gensweep.sweep.resources import Request
from gensweep.sweep.run import run_plan

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak"), pytest.mark.slow]


def actors(ray, name):
    """Process ids of the living actors of a class."""
    from ray._private.state import actors as table

    return [entry["Pid"] for entry in table().values() if entry["State"] == "ALIVE" and name in entry["ActorClassName"]]


class Killer(Memory):
    """Kills one process of a class when a trial reports so many images, once."""

    def __init__(self, ray, name, images):
        super().__init__()
        self.ray, self.name, self.images = ray, name, images
        self.killed = []

    def trial_reported(self, report):
        self.calls.append(("trial_reported", report))
        if report.images == self.images and not self.killed:
            self.killed = actors(self.ray, self.name)[:1]
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["ResourceTrainable", "_Controller", "SynchronizationActor"])
def test_a_killed_actor_costs_at_most_one_checkpoint_interval(ray_cluster, tmp_path, name):
    killer = Killer(ray_cluster, name, 200)
    one = plan(trials=2, configs=[{"sleep": 0.3}, {}], request=Request(workers=2, concurrent=1))
    result = run_plan(one, [killer], root=tmp_path)
    assert killer.killed
    assert [t.status for t in result.trials] == ["finished", "finished"], [t.error for t in result.trials]
    assert result.trials[0].best.metrics["sum"] == result.trials[1].best.metrics["sum"]
    images = [r.images for r in killer.of("trial_reported") if r.trial == "t0000" and r.checkpoint]
    assert images == [100, 200, 300, 400]


def test_a_lost_mailbox_ends_the_sweep_without_a_hang_and_it_can_go_on(ray_cluster, tmp_path):
    killer = Killer(ray_cluster, "Mailbox", 200)
    one = plan(trials=1, configs=[{"sleep": 0.3}])
    started = time.monotonic()
    result = run_plan(one, [killer], root=tmp_path)
    assert killer.killed
    assert time.monotonic() - started < 120
    assert [t.status for t in result.trials] in (["failed"], ["stopped"])


def test_workers_lost_again_and_again_fail_the_trial(tmp_path):
    result = run_plan(plan(trials=2, configs=[{"die_at": 2}, {}]), root=tmp_path)
    assert [t.status for t in result.trials] == ["failed", "finished"]
    assert result.trials[0].error.startswith("worker lost")
    assert result.trials[0].objective is not None  # what was measured before counts
