"""What an autoscaler may add to a cluster."""

from __future__ import annotations

from gensweep.config.sweep_config import Resources
from gensweep.run.node_types import addable

HEAD = {"CPU": 0.0, "memory": 8e9}
GPU = {"CPU": 4.0, "GPU": 1.0}
CONFIG = {
    "max_workers": 5,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "small": {"resources": {"CPU": 2}},
        "gpu": {"resources": {"CPU": 4, "GPU": 1, "memory": 10**9}, "max_workers": 3},
    },
}


def kinds(nodes):
    return [(node.get("CPU"), node.get("GPU", 0)) for node in nodes]


def test_as_many_of_each_type_as_allowed_and_of_all_together_the_largest():
    assert kinds(addable(CONFIG, [HEAD], Resources())) == [(4, 1)] * 3 + [(2, 0)] * 2


def test_nodes_that_hold_the_workers_come_before_others_with_gpus():
    types = {"gpu": {"resources": {"CPU": 4, "GPU": 1}}, "cpu": {"resources": {"CPU": 32}}}
    config = {"max_workers": 4, "available_node_types": types}
    assert kinds(addable(config, [HEAD], Resources(cpus_per_worker=8))) == [(32, 0)] * 4
    assert kinds(addable(config, [HEAD], Resources(gpus_per_worker=1))) == [(4, 1)] * 4


def test_living_workers_are_not_added_once_more():
    assert kinds(addable(CONFIG, [HEAD, GPU, GPU], Resources())) == [(4, 1)] + [(2, 0)] * 2


def test_a_type_without_resources_leaves_open_what_may_be_added():
    types = {"head": {"max_workers": 0}, "gpu": {"resources": {}, "max_workers": 2}}
    config = {"max_workers": 2, "head_node_type": "head", "available_node_types": types}
    assert addable(config, [HEAD], Resources()) is None
