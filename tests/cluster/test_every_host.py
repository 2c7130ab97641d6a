"""Drill: every host of a cluster loses power once, at random moments, also the one from which the sweep is driven."""

from __future__ import annotations

import os
import random
import time

import pytest
from drills import SLEEP, STEPS, TIMEOUT, check, seconds_until_trained_again
from ray_hosts import Driver, RayCluster, Storage, wait_for

pytestmark = pytest.mark.cluster

MINUTES = float(os.environ.get("GENSWEEP_DRILL_MINUTES", "3"))
SEED = int(os.environ.get("GENSWEEP_DRILL_SEED", time.time_ns() % 10_000))
WORKERS = 3
#: Seconds: the first loss comes when trials train, and a host stays off for so long.
EARLIEST, OFF = 10.0, (1.0, 8.0)


@pytest.fixture
def four_hosts(network_of):
    """A cluster of its own, as its head is lost, too."""
    with network_of() as network:
        cluster = RayCluster(network, Storage(network))
        cluster.start_head(network.host("h0", memory=3 * 2**30))
        for number in range(1, WORKERS + 1):
            cluster.join(network.host(f"h{number}", memory=3 * 2**30))
        yield cluster


def lose(cluster, driver, host, off):
    """Take a host's power, give it back after some seconds, and let it join; what was lost when, and how."""
    loss = {"host": host.name, "time": time.time(), "driver": host is cluster.head}
    host.kill()
    time.sleep(off)
    host.boot()
    if host is cluster.head:
        others = [each for each in cluster.network.hosts.values() if each not in (host, cluster.storage.host)]
        cluster.move(others[0], [*others[1:], host])
        driver.resume(cluster.head)
    else:
        cluster.join(host)
        loss["seconds_until_noticed"] = round(cluster.noticed(host, loss["time"]), 1)
    return loss


def test_every_host_may_be_lost_once_at_any_moment(four_hosts, record):
    cluster = four_hosts
    dice = random.Random(SEED)
    # As much training as fills the time, if nothing is lost.
    trials = max(2 * WORKERS, round(60 * MINUTES * WORKERS / (STEPS * SLEEP)))
    driver = Driver(cluster, cluster.head, "every-host", trials=trials, steps=STEPS, sleep=SLEEP)
    wait_for("training", lambda: len(driver.steps) > WORKERS, TIMEOUT)
    begin = time.time()
    hosts = [host for host in cluster.network.hosts.values() if host is not cluster.storage.host]
    dice.shuffle(hosts)
    moments = sorted(dice.uniform(EARLIEST, 60 * MINUTES) for _ in hosts)
    losses = []
    record |= {"seed": SEED, "minutes": MINUTES, "losses": losses}
    for host, moment in zip(hosts, moments, strict=True):
        time.sleep(max(0.0, begin + moment - time.time()))
        losses.append(lose(cluster, driver, host, dice.uniform(*OFF)))
    check(driver, record, trials=trials, timeout=TIMEOUT + 60 * MINUTES)
    steps = driver.steps
    for loss in losses:
        again = seconds_until_trained_again(steps, cluster.network.hosts[loss["host"]], loss["time"])
        if loss["driver"]:
            after = [step["time"] for step in steps if step["time"] > loss["time"] + SLEEP]
            again = min(after) - loss["time"]
        loss["seconds_until_training_again"] = again and round(again, 1)
        loss["time"] = round(loss["time"] - begin, 1)
