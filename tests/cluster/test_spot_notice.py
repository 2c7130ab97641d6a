"""Drill: a notice that a host will be taken away makes its trials save a checkpoint before it is."""

from __future__ import annotations

import json
import time

import pytest
from drills import TIMEOUT, check, sweep, wait_until_trained_again
from ray_hosts import wait_for

pytestmark = pytest.mark.cluster

#: Seconds between a notice and the end; AWS gives two minutes.
NOTICE = 20


def saved(driver):
    """The trials that have saved a checkpoint between two evaluations."""
    lines = driver.host.run("cat", f"sweeps/{driver.name}/events.jsonl").stdout.splitlines()
    return {event["trial"] for event in map(json.loads, lines) if event["event"] == "saved"}


def test_a_spot_notice_makes_a_checkpoint_and_costs_no_trial(cluster, record):
    driver = sweep(cluster, "spot")
    worker = cluster.network.hosts["w2"]
    noticed = time.time()
    cluster.warn(worker, NOTICE)
    wait_for("a checkpoint", lambda: saved(driver), TIMEOUT, period=1.0)
    record["seconds_until_checkpoint"] = time.time() - noticed
    time.sleep(max(0.0, noticed + NOTICE - time.time()))
    worker.kill()
    lost = time.time()
    worker.boot()
    cluster.join(worker)
    record["seconds_until_training_again"] = wait_until_trained_again(driver, worker, lost)
    check(driver, record)
