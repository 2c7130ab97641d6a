"""A real sweep on a cluster, as a person types it: trials of two workers on two hosts, checkpoints in S3."""

from __future__ import annotations

import json

import pytest
from namespace_hosts import PROJECT
from ray_hosts import BUCKET

pytestmark = pytest.mark.cluster

CHANGES = [
    "search.trials=2",
    "search.sampler.kind=random",
    "search.scheduler.kind=fifo",
    "budget={images: 256}",
    "training.batch_size=16",
    "evaluation.at=[0.5]",
    "evaluation.samples=16",
    "evaluation.batch_size=16",
    "evaluation.extractor.resolution=32",
    "resources.workers=2",
    "rescore=false",
]


def gensweep(cluster, *words, timeout=300):
    """What a command prints on the head."""
    return cluster.head.run("gensweep", *words, timeout=timeout, environment={"RAY_ADDRESS": cluster.address}).stdout


def test_trials_of_two_hosts_train_and_are_sampled_from_the_storage(cluster, record, tmp_path):
    tune = ["tune", str(PROJECT / "search_spaces" / "quickstart.yaml"), "--storage", f"s3://{BUCKET}/real"]
    gensweep(cluster, *tune, "--name", "real", *(f"--set={change}" for change in CHANGES))
    trials = json.loads(gensweep(cluster, "trials", "real", "--format", "json"))
    assert [trial["status"] for trial in trials] == ["finished"] * 2
    assert cluster.storage.keys("real/")
    compared = json.loads(gensweep(cluster, "best", "--compare", "--format", "json"))
    assert compared["entries"]
    gensweep(cluster, "sample", "real", "-n", "4", "-o", "four.png")
    assert cluster.head.run("grep", "-ac", "IHDR", "four.png").stdout == "1\n"  # the header of a PNG
