"""Drills: hosts that lose power, and hosts that cannot reach each other, while a sweep runs over three of them."""

from __future__ import annotations

import time

import pytest
from drills import SLEEP, STEPS, TIMEOUT, check, sweep, wait_until_trained_again
from ray_hosts import Driver, wait_for

pytestmark = pytest.mark.cluster

#: Seconds; Ray takes a node for dead only after five health checks in a row, 3 s apart, went without an answer.
SHORT_PARTITION = 20.0


def test_a_worker_that_loses_power_and_comes_back_costs_no_trial(cluster, record):
    driver = sweep(cluster, "power")
    worker = cluster.network.hosts["w2"]
    worker.kill()
    lost = time.time()
    worker.boot()
    cluster.join(worker)
    record["seconds_until_noticed"] = cluster.noticed(worker, lost)
    record["seconds_until_training_again"] = wait_until_trained_again(driver, worker, lost)
    check(driver, record)


def test_a_short_partition_from_the_driver_is_sat_out(cluster, record):
    driver = sweep(cluster, "partition-short")
    worker = cluster.network.hosts["w1"]
    worker.partition(cluster.head)
    lost = time.time()
    time.sleep(SHORT_PARTITION)
    worker.heal(cluster.head)
    record["seconds_of_partition"] = SHORT_PARTITION
    record["seconds_until_training_again"] = wait_until_trained_again(driver, worker, lost)
    record["node_taken_for_dead"] = cluster.is_lost(worker)
    if cluster.is_lost(worker):
        cluster.join_again(worker)
    check(driver, record)


def test_a_partition_for_longer_than_rays_health_check_costs_no_trial(cluster, record):
    driver = sweep(cluster, "partition-long")
    worker = cluster.network.hosts["w2"]
    worker.partition(cluster.head)
    lost = time.time()
    record["seconds_until_noticed"] = cluster.noticed(worker, lost)
    record["seconds_until_training_again"] = wait_until_trained_again(driver, worker, lost)
    worker.heal(cluster.head)
    record["seconds_of_partition"] = time.time() - lost
    cluster.join_again(worker)
    check(driver, record)


def test_two_workers_of_one_trial_survive_a_partition_and_the_loss_of_one(cluster, record):
    driver = Driver(cluster, cluster.head, "pair", trials=1, steps=STEPS, workers=2, sleep=SLEEP)
    wait_for("a pair that trains", lambda: len(driver.steps) > 2, TIMEOUT)
    one, other = cluster.network.hosts["w1"], cluster.network.hosts["w2"]
    one.partition(other)
    lost = time.time()
    time.sleep(SHORT_PARTITION)
    one.heal(other)
    record["seconds_of_partition"] = SHORT_PARTITION
    wait_for("the pair trains again", lambda: driver.steps[-1]["time"] > lost + SHORT_PARTITION, TIMEOUT)
    record["seconds_until_training_after_partition"] = driver.steps[-1]["time"] - lost
    other.kill()
    lost = time.time()
    other.boot()
    cluster.join(other)
    record["seconds_until_noticed"] = cluster.noticed(other, lost)
    wait_for("the pair trains again", lambda: driver.steps[-1]["time"] > lost + SLEEP, TIMEOUT)
    record["seconds_until_training_again"] = driver.steps[-1]["time"] - lost
    check(driver, record, trials=1)
