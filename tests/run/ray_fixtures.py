"""One local Ray for all tests of a process; four CPUs, whatever the machine has."""

from __future__ import annotations

import time
import warnings

import pytest

ACTORS = ["SweepTrial", "Bell", "Mailbox", "TrainController", "RayTrainWorker"]


@pytest.fixture(scope="session")
def ray_cluster():
    from gensweep.run.cluster import set_switches

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
    """After the test, no placement group and no process of the sweep is left."""
    yield
    from processes import pids
    from ray.util.placement_group import placement_group_table

    def held():
        groups = [entry["bundles"] for entry in placement_group_table().values() if entry["state"] != "REMOVED"]
        return groups + [name for name in ACTORS if pids(name)]

    deadline = time.monotonic() + 20  # processes take their time to exit
    while held() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert held() == []
