"""Drills: an S3 that is slow, full and gone while a sweep writes its checkpoints there; one that two sweeps share."""

from __future__ import annotations

import time

import pytest
from drills import STEPS, TIMEOUT, check, sweep
from ray_hosts import Driver, wait_for

pytestmark = pytest.mark.cluster

#: Seconds for which the storage is in each trouble.
TROUBLE = 20.0


def test_a_storage_that_is_slow_then_full_and_then_gone_costs_no_trial(cluster, record):
    driver = sweep(cluster, "storage", trials=8)
    storage = cluster.storage
    for mode in ("slow", "full"):
        before = storage.refused
        storage.become(mode)
        try:
            time.sleep(TROUBLE)
        finally:
            storage.become("ok")
        record[f"requests_refused_while_{mode}"] = storage.refused - before
        wait_for_steps(driver)
    storage.host.unplug()
    time.sleep(TROUBLE)
    storage.host.plug()
    wait_for_steps(driver)
    record["seconds_of_trouble"] = TROUBLE
    assert record["requests_refused_while_slow"] == 0
    assert record["requests_refused_while_full"] > 0
    check(driver, record, trials=8)
    check_kept(cluster, driver)


def test_sweeps_share_a_bucket_but_never_a_name(cluster, record):
    drivers = [Driver(cluster, cluster.head, f"share-{name}", trials=2, steps=STEPS) for name in "ab"]
    for driver in drivers:
        check(driver, record, trials=2)
        check_kept(cluster, driver)
    before = cluster.storage.keys("sweeps/share-")
    again = Driver(cluster, cluster.network.hosts["w1"], "share-a", trials=2, steps=STEPS)
    assert again.process.wait(TIMEOUT) != 0
    assert "holds another sweep" in again.log.read_text()
    assert cluster.storage.keys("sweeps/share-") == before


def wait_for_steps(driver):
    """The sweep trains on after a trouble, so it was met by it."""
    known = len(driver.steps)
    wait_for("a step after the trouble", lambda: len(driver.steps) > known, TIMEOUT)


def check_kept(cluster, driver):
    """The checkpoint of every trial's best score is there, whole."""
    keys = cluster.storage.keys(f"sweeps/{driver.name}/")
    for name in driver.wait(0)["checkpoints"]:
        assert f"sweeps/{driver.name}/checkpoints/{name}/state.json" in keys
