"""How many trials fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gensweep.config.sweep_config import Resources
from gensweep.errors import ConfigError
from gensweep.run import allotment
from gensweep.run.allotment import allot


@pytest.mark.parametrize(
    ("request_", "nodes", "fit"),
    [
        (Resources(), [{"CPU": 2}], 2),
        (Resources(workers=2), [{"CPU": 2}], 1),
        (Resources(workers=2, cpus_per_worker=3), [{"CPU": 8}, {"CPU": 8}], 2),  # two bundles a node, not 16 / 6
        (Resources(workers=4, cpus_per_worker=2, gpus_per_worker=1), [{"CPU": 64, "GPU": 8}], 2),
        (Resources(workers=1, cpus_per_worker=16, gpus_per_worker=1), [{"CPU": 64, "GPU": 8}], 4),  # CPUs bind
        (Resources(workers=1, gpus_per_worker=0.5), [{"CPU": 8, "GPU": 1}], 2),
        (Resources(workers=1, gpus_per_worker=0.4), [{"CPU": 8, "GPU": 2}], 4),  # two a GPU; 0.2 of each stays idle
        (Resources(workers=2, gpus_per_worker=1), [{"CPU": 4, "GPU": 1}, {"CPU": 4, "GPU": 1}], 1),
        (Resources(workers=1), [{"CPU": 4}, {"memory": 1}], 4),
    ],
)
def test_trials_that_fit_as_counted_by_hand(request_, nodes, fit):
    assert allot(request_, nodes).concurrent == fit


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Resources(workers=3), r"3 workers with 1 CPU each \(3 CPU in all\), but 2 CPU on 1 node"),
        (Resources(cpus_per_worker=4), "no single node has enough"),
        (Resources(gpus_per_worker=1), "1 CPU and 1 GPU"),
    ],
)
def test_impossible_requests_are_refused_with_numbers(request_, message):
    with pytest.raises(ConfigError, match=message):
        allot(request_, [{"CPU": 2}])


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"concurrent": 0}, {"cpus_per_worker": 0.0}, {"gpus_per_worker": -1.0}]
)
def test_a_request_for_nothing_is_refused_where_it_is_written(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Resources(**wrong)


@given(
    workers=st.integers(1, 4),
    cpus=st.integers(1, 8),
    gpus=st.integers(0, 2),
    nodes=st.lists(st.tuples(st.integers(1, 64), st.integers(0, 8)), min_size=1, max_size=5),
)
def test_what_is_allotted_can_really_be_placed(workers, cpus, gpus, nodes):
    offered = [{"CPU": float(c), "GPU": float(g)} for c, g in nodes]
    try:
        fit = allot(Resources(workers=workers, cpus_per_worker=cpus, gpus_per_worker=gpus), offered).concurrent
    except ConfigError:
        fit = 0
    # First fit, one bundle after the other, is exact here because all bundles are equal.
    placed = 0
    for c, g in nodes:
        while c >= cpus and g >= gpus:
            c, g, placed = c - cpus, g - gpus, placed + 1
    assert fit == placed // workers


@pytest.mark.parametrize(
    ("workers", "counts"),
    [(3, (3,)), ({"max": 4}, (4, 2, 1)), ({"min": 2, "max": 6}, (6, 3, 2)), ({"min": 4, "max": 4}, (4,))],
)
def test_fewer_workers_divide_the_most_and_so_every_batch_that_it_divides(workers, counts):
    assert Resources(workers=workers).worker_counts == counts


@pytest.mark.parametrize(("cpus", "fit"), [(1, 0), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (8, 2)])
def test_a_trial_that_may_have_fewer_workers_takes_what_is_left(cpus, fit):
    assert allot(Resources(workers={"min": 2, "max": 4}), [{"CPU": cpus}], grows=True).fit == fit


def test_a_range_of_workers_is_refused_if_its_minimum_never_fits():
    with pytest.raises(ConfigError, match=r"2 to 4 workers with 1 CPU each \(2 CPU in all\), but 1 CPU"):
        allot(Resources(workers={"min": 2, "max": 4}), [{"CPU": 1}])
    with pytest.raises(ValidationError, match="min <= max, but got min=3, max=2"):
        Resources(workers={"min": 3, "max": 2})


@pytest.mark.parametrize("workers", [2, {"min": 1, "max": 2}])
def test_workers_of_one_trial_share_no_gpu(workers):
    with pytest.raises(
        ValidationError, match=r"takes workers=1 with a fraction of a GPU.* got 2 with .*=0\.5; give each"
    ):
        Resources(workers=workers, gpus_per_worker=0.5)
    assert Resources(gpus_per_worker=0.5).worker_counts == (1,)


def test_where_nodes_may_be_added_nothing_is_refused():
    found = allot(Resources(gpus_per_worker=1), [{"CPU": 0}], grows=True)
    assert (found.fit, found.concurrent) == (0, 1)


@pytest.mark.parametrize(("cpus", "usable"), [(None, 8), (3, 3), (50, 8)])
def test_without_a_cluster_a_sweep_has_the_cores_that_it_may_use(monkeypatch, cpus, usable):
    monkeypatch.setattr(allotment, "usable_cores", lambda: 8)
    assert allot(Resources(cpus=cpus)).concurrent == usable
