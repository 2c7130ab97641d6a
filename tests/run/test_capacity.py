"""How many trials may start as nodes come and go."""

from __future__ import annotations

import pytest

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError, GensweepError
from gensweep.run import nodes as module
from gensweep.run.nodes import REMINDER_INTERVAL, Capacity
from gensweep.sweep.events import Scaled

HEAD, WORKER = {"CPU": 0.0}, {"CPU": 4.0, "GPU": 1.0}
ONE_GPU = Resources(gpus_per_worker=1)


class Cluster:
    """Stands in for Ray's nodes."""

    def __init__(self, monkeypatch, most):
        self.living, self.time, self.noted = [HEAD], 0.0, []
        monkeypatch.setattr(module, "addable_nodes", lambda: max(0, most - len(self.living)))
        monkeypatch.setattr(module, "node_resources", lambda: self.living)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.time)

    def look(self, capacity, running, pending, seconds=2.0):
        """Let time pass, and look; returns how many trials may have started."""
        self.time += seconds
        capacity.update(running, pending, self.noted.append)
        return capacity.trials


def test_trials_wait_for_the_nodes_that_an_autoscaler_adds(monkeypatch):
    cluster = Cluster(monkeypatch, most=4)
    capacity = Capacity(ONE_GPU)
    assert cluster.look(capacity, 0, 2) == 3
    cluster.living = [HEAD, WORKER]
    assert cluster.look(capacity, 2, 0) == 3
    cluster.living = [HEAD, WORKER, WORKER]
    assert cluster.look(capacity, 2, 0) == 3
    assert cluster.noted == [Scaled(1, 0, 2, "1 GPU"), Scaled(2, 1, 1, "1 GPU"), Scaled(3, 2, 0, "1 GPU")]


def test_the_number_of_waiting_trials_is_limited(monkeypatch):
    Cluster(monkeypatch, most=4)
    assert Capacity(Resources(gpus_per_worker=1, concurrent=2)).trials == 2


def test_a_ray_without_nodes_is_given_up(monkeypatch):
    cluster = Cluster(monkeypatch, most=1)
    cluster.living = [WORKER]
    capacity = Capacity(ONE_GPU)
    cluster.living = []
    with pytest.raises(GensweepError, match="Ray has lost this machine"):
        cluster.look(capacity, 1, 0)


def test_a_cluster_without_room_is_noted_again_and_again(monkeypatch):
    cluster = Cluster(monkeypatch, most=4)
    capacity = Capacity(ONE_GPU)
    for _ in range(4):
        cluster.look(capacity, 0, 1, REMINDER_INTERVAL / 2)
    assert cluster.noted == [Scaled(1, 0, 1, "1 GPU")] * 2


def test_without_an_autoscaler_a_trial_that_never_fits_is_refused(monkeypatch):
    cluster = Cluster(monkeypatch, most=1)
    with pytest.raises(ConfigError, match=r"1 CPU and 1 GPU each .*, but 0 CPU on 1 node"):
        Capacity(ONE_GPU)
    cluster.living = [HEAD, WORKER]
    capacity = Capacity(ONE_GPU)
    assert cluster.look(capacity, 1, 5) == 1
    assert cluster.noted == []  # the one place is taken, and there will be no other
    cluster.living = [HEAD]
    assert cluster.look(capacity, 1, 5) == 0
    assert cluster.noted == [Scaled(1, 0, 1, "1 GPU")]
