"""One local Ray for all tests of this folder; four CPUs, whatever the machine has."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session")
def ray_cluster():
    from gensweep.sweep.cluster import set_switches

    set_switches()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jobs
        import ray
        import ray.cloudpickle

        ray.cloudpickle.register_pickle_by_value(jobs)  # workers do not see this folder
        ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def no_leak(ray_cluster):
    """After the test, nothing of the sweep holds resources."""
    yield
    from ray.util.placement_group import placement_group_table

    held = [e["name"] for e in placement_group_table().values() if e["state"] != "REMOVED"]
    assert [name for name in held if name.startswith("gensweep")] == []
