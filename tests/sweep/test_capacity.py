"""What is asked of an autoscaler as nodes come and go."""

from __future__ import annotations

from itertools import count

import pytest

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep import capacity as module
from gensweep.sweep.capacity import MOST_REQUESTS, REMINDER_INTERVAL, Capacity
from gensweep.sweep.events import Scaled
from gensweep.sweep.node_types import ClusterNodes

HEAD, WORKER = {"CPU": 0.0}, {"CPU": 4.0, "GPU": 1.0}
ONE_GPU = Resources(gpus_per_worker=1)


class Cluster:
    """Stands in for Ray: living nodes, and placement groups that wait until the test says that they have a place."""

    def __init__(self, monkeypatch, addable):
        self.living, self.time, self.groups, self.ids = [HEAD], 0.0, {}, count()
        self.noted = []
        monkeypatch.setattr(module, "cluster_nodes", lambda _: ClusterNodes(self.living, addable))
        monkeypatch.setattr(module, "node_resources", lambda: self.living)
        monkeypatch.setattr(module, "placement_group", self.ask)
        monkeypatch.setattr(module, "placement_group_table", lambda: self.groups)
        monkeypatch.setattr(module, "remove_placement_group", lambda group: self.groups.pop(group.id.hex()))
        monkeypatch.setattr(module.time, "monotonic", lambda: self.time)

    def ask(self, bundles):
        number = next(self.ids)
        self.groups[f"{number:x}"] = {"state": "PENDING", "bundles": bundles}
        return type("Group", (), {"id": type("Id", (), {"hex": staticmethod(lambda: f"{number:x}")})})

    def look(self, capacity, running, pending, seconds=2.0):
        """Let time pass, and look; returns how many requests wait then."""
        self.time += seconds
        capacity.update(running, pending, self.noted.append)
        return len(self.groups)

    def give_a_place(self):
        next(group for group in self.groups.values() if group["state"] == "PENDING")["state"] = "CREATED"


def test_nodes_are_asked_for_while_trials_have_no_place_and_no_longer(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER] * 3)
    capacity = Capacity(ONE_GPU)
    assert capacity.trials == 0
    assert cluster.look(capacity, 0, 2) == 2
    assert [group["bundles"] for group in cluster.groups.values()] == [[{"CPU": 1, "GPU": 1}]] * 2
    cluster.living = [HEAD, WORKER]
    assert cluster.look(capacity, 0, 2) == 1
    assert capacity.trials == 1
    cluster.living = [HEAD, WORKER, WORKER]
    assert cluster.look(capacity, 1, 1) == 0
    assert cluster.noted == [Scaled(1, 0, 2, "1 GPU"), Scaled(2, 1, 1, "1 GPU"), Scaled(3, 2, 0, "1 GPU")]


def test_a_ray_without_nodes_is_given_up(monkeypatch):
    cluster = Cluster(monkeypatch, [])
    cluster.living = [WORKER]
    capacity = Capacity(ONE_GPU)
    cluster.living = []
    with pytest.raises(GensweepError, match="Ray has lost this machine"):
        cluster.look(capacity, 1, 0)


def test_no_more_is_asked_for_than_the_autoscaler_may_add_or_the_limit_allows(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER] * 3)
    assert cluster.look(Capacity(ONE_GPU), 0, 50) == 3
    assert cluster.noted[-1].missing == 3
    cluster = Cluster(monkeypatch, [WORKER] * 3)
    assert cluster.look(Capacity(Resources(gpus_per_worker=1, concurrent=2)), 0, 50) == 2
    cluster = Cluster(monkeypatch, None)  # nobody knows what may be added
    assert cluster.look(Capacity(ONE_GPU), 0, 50) == MOST_REQUESTS


def test_a_request_that_has_found_its_place_makes_room_for_the_workers(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER] * 3)
    capacity = Capacity(ONE_GPU)
    cluster.look(capacity, 0, 3)
    cluster.give_a_place()
    cluster.living = [HEAD, WORKER]
    assert cluster.look(capacity, 0, 3) == 2
    assert {group["state"] for group in cluster.groups.values()} == {"PENDING"}


def test_workers_that_were_lost_are_not_asked_for_twice(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER] * 2)
    cluster.living = [HEAD, WORKER, WORKER]
    capacity = Capacity(ONE_GPU)
    cluster.living = [HEAD, WORKER]
    assert cluster.look(capacity, 2, 0) == 0  # the lost workers wait in a group of their own
    assert cluster.noted == [Scaled(2, 1, 1, "1 GPU")]


def test_requests_are_withdrawn_at_the_end(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER] * 3)
    capacity = Capacity(ONE_GPU)
    assert cluster.look(capacity, 0, 3) == 3
    capacity.close()
    assert cluster.groups == {}


def test_as_long_as_nothing_can_run_that_is_noted_again_and_again(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER])
    capacity = Capacity(ONE_GPU)
    for _ in range(4):
        cluster.look(capacity, 0, 1, REMINDER_INTERVAL / 2)
    assert cluster.noted == [Scaled(1, 0, 1, "1 GPU")] * 2


def test_without_an_autoscaler_nothing_is_asked_and_a_trial_that_never_fits_is_refused(monkeypatch):
    cluster = Cluster(monkeypatch, ())
    with pytest.raises(ConfigError, match=r"1 CPU and 1 GPU each .*, but 0 CPU on 1 node"):
        Capacity(ONE_GPU)
    cluster.living = [HEAD, WORKER]
    capacity = Capacity(ONE_GPU)
    assert cluster.look(capacity, 1, 5) == 0
    assert cluster.noted == []  # the one place is taken, and there will be no other
    cluster.living = [HEAD]
    assert cluster.look(capacity, 1, 5) == 0
    assert cluster.noted == [Scaled(1, 0, 1, "1 GPU")]


def test_an_autoscaler_that_can_never_add_enough_is_told_of_at_once(monkeypatch):
    Cluster(monkeypatch, [WORKER] * 3)
    with pytest.raises(ConfigError, match=r"4 CPU and 4 GPU in all\), but 12 CPU and 3 GPU on 4 node\(s\), 3 of them"):
        Capacity(Resources(workers=4, gpus_per_worker=1))


def test_where_fewer_workers_will_do_each_is_asked_for_by_itself(monkeypatch):
    cluster = Cluster(monkeypatch, [WORKER] * 2)
    assert cluster.look(Capacity(Resources(workers={"min": 1, "max": 4}, gpus_per_worker=1)), 0, 1) == 4
    assert [group["bundles"] for group in cluster.groups.values()] == [[{"CPU": 1, "GPU": 1}]] * 4
    assert cluster.noted == [Scaled(1, 0, 4, "1 GPU")]
