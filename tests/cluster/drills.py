"""What drills have in common: the sweep that is disturbed, how it must end, and what is measured on the way."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import jobs
import torch
from list_reporter import ListReporter
from ray_hosts import Driver, repeated, wait_for

from gensweep.training.reporter import WorkerContext

#: The sweep: long enough that every trial is in training when something is lost, and no longer.
TRIALS, STEPS, SLEEP = 4, 24, 0.5
#: Seconds that a sweep may take in all, with the time until a loss is noticed.
TIMEOUT = 300


def sweep(cluster, name, trials=TRIALS):
    """A sweep on the head, of which every worker has trained some steps."""
    driver = Driver(cluster, cluster.head, name, trials=trials, steps=STEPS, sleep=SLEEP)
    hosts = set(cluster.network.hosts) - {"s3", "head"}
    wait_for(f"steps on {hosts}", lambda: {step["host"] for step in driver.steps if step["step"] > 2} >= hosts, TIMEOUT)
    return driver


def undisturbed(seed):
    """What a trial comes to when it is trained alone, in this process; it does not depend on the number of workers."""
    with TemporaryDirectory() as folder:
        reporter = ListReporter()
        jobs.count({"steps": STEPS, "seed": seed}, WorkerContext(0, 1, torch.device("cpu"), Path(folder)), reporter)
        evaluation, _ = reporter.checkpoints[-1]
        return evaluation.signals["sum"]


def check(driver, record, trials=TRIALS, timeout=TIMEOUT):
    """Every trial came to its end, and to the same as without a disturbance."""
    ended = driver.wait(timeout)
    record["trials_lost"] = sum(status != "finished" for status in ended["trials"].values())
    record["steps"] = trials * STEPS
    record["steps_repeated"] = repeated(driver.steps)
    assert ended["status"] == "finished", ended
    assert set(ended["trials"].values()) == {"finished"}, ended
    assert list(ended["sums"].values()) == [undisturbed(seed) for seed in ended["seeds"]]


def interrupted(steps, host, lost):
    """The trials that were in training on a host at a moment."""
    last = {step["trial"]: step for step in steps if step["time"] < lost}
    return {trial for trial, step in last.items() if step["host"] == host.name and step["step"] < STEPS}


def seconds_until_trained_again(steps, host, lost):
    """Until all trials that a host trained when it was lost are trained again, wherever that is; None: not yet."""
    trials, first = interrupted(steps, host, lost), {}
    for step in steps:
        if step["trial"] in trials and step["time"] > lost + SLEEP:
            first.setdefault(step["trial"], step["time"] - lost)
    return max(first.values(), default=0.0) if len(first) == len(trials) else None


def wait_until_trained_again(driver, host, lost):
    """The same, once they are."""

    def again():
        seconds = seconds_until_trained_again(driver.steps, host, lost)
        return None if seconds is None else [seconds]

    return wait_for(f"trials of {host.name} train again", again, TIMEOUT)[0]
