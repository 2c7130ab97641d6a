"""Drill: many short trials over three hosts; what a trial costs beyond its own work, and what the head holds."""

from __future__ import annotations

import json
import sys
import time

import pytest
from drills import TIMEOUT
from namespace_hosts import PROJECT
from ray_hosts import Driver

pytestmark = pytest.mark.cluster

TRIALS = 200
#: Seconds between two looks at the memory.
PERIOD = 5.0
MEGABYTE = 2**20


def memory(host):
    """Megabytes of a host's processes, by what they are."""
    told = json.loads(host.run(sys.executable, str(PROJECT / "benchmarks" / "sweep_memory.py"), "--host").stdout)
    return {kind: {"processes": number, "MB": round(size / MEGABYTE)} for kind, (number, size) in told.items()}


def test_two_hundred_short_trials_all_finish(cluster, record):
    driver = Driver(cluster, cluster.head, "many", trials=TRIALS, steps=1)
    begin, most = time.monotonic(), {}
    while driver.process.poll() is None and time.monotonic() - begin < TIMEOUT:
        time.sleep(PERIOD)
        now = memory(cluster.head)
        if sum(each["MB"] for each in now.values()) > sum(each["MB"] for each in most.values()):
            most = now
    ended = driver.wait(TIMEOUT)
    assert set(ended["trials"].values()) == {"finished"}
    assert len(ended["trials"]) == TRIALS
    times = [step["time"] for step in driver.steps]
    record["seconds_of_sweep"] = ended["seconds"]
    # Two workers train at the same time, so a trial keeps one of them for twice as long as lies between two trials.
    record["seconds_a_trial_and_worker"] = round(2 * (times[-1] - times[0]) / (TRIALS - 1), 2)
    record["memory_of_head"] = most
    record["memory_of_head_MB"] = sum(each["MB"] for each in most.values())
