"""Drill: cluster.yaml from `ray up` to `ray down`, with a sweep on spot workers, one of which is reclaimed."""

from __future__ import annotations

import json
import os
import time

import pytest
import yaml
from made_up_cloud import ADDRESSES, Cloud, missing_tools
from namespace_hosts import HOME, PROJECT, tail
from ray_hosts import BUCKET, wait_for

pytestmark = pytest.mark.cluster

CHANGES = [
    "search.trials=4",
    "search.sampler.kind=random",
    "search.scheduler.kind=fifo",
    "budget={images: 1024}",
    "training.batch_size=16",
    "evaluation={every: 128, samples: 64}",
    "evaluation.extractor.resolution=32",
    "resources.cpus_per_worker=4",  # a whole worker, as a trial with a GPU takes it
    "rescore=false",
]
#: Seconds for a step of the drill: ray up, a sweep, the end of idle workers.
TIMEOUT = 600
SPOT = "g6.xlarge"
#: As many as a machine with two cores can play.
MOST_WORKERS = 2
SENT = ["gensweep", "search_spaces", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture
def cloud(network_of):
    """A cloud with what docs/cluster-aws.yaml makes, and a laptop with an edited cluster.yaml beside the project."""
    if (reason := missing_tools()) is not None:
        pytest.skip(reason)
    with network_of(ADDRESSES) as network:
        cloud = Cloud(network)
        try:
            group = cloud.call("ec2", "create_security_group", GroupName="gensweep", Description="of the drill")
            for name in ("gensweep-head", "gensweep-worker"):
                cloud.call("iam", "create_instance_profile", InstanceProfileName=name)
            text = (PROJECT / "cluster.yaml").read_text()
            edited = yaml.safe_load(text.replace("EDIT-ME-BUCKET", BUCKET).replace("sg-EDIT-ME", group["GroupId"]))
            edited["provider"]["use_internal_ips"] = True  # the laptop is in the same network
            edited["idle_timeout_minutes"] = 1
            edited["available_node_types"]["gpu"]["max_workers"] = MOST_WORKERS
            cloud.laptop.run("cp", "-r", *(str(PROJECT / name) for name in SENT), ".")
            cloud.laptop.write(f"{HOME}/cluster.yaml", yaml.safe_dump(edited))
            yield cloud
        finally:
            cloud.close()


def ray(cloud, *words):
    """Run a command of Ray's launcher on the laptop, and return what it says."""
    environment = {"PATH": f"{HOME}/venv/bin:/run/bin:{os.environ['PATH']}", "PYTHONPATH": HOME, "TERM": "dumb"}
    return cloud.laptop.run("ray", *words, timeout=TIMEOUT, environment=environment).stdout


def test_a_sweep_survives_a_reclaimed_spot_worker(cloud, record, tmp_path):
    begin = time.time()
    ray(cloud, "up", "--yes", "--no-config-cache", "cluster.yaml")
    record["seconds_of_ray_up"] = time.time() - begin
    (head,) = [cloud.host_of(instance) for instance in cloud.living("m7i.large")]

    changes = " ".join(f"--set '{change}'" for change in CHANGES)
    shell = ["bash", "-c"]
    settings = "source ~/.bashrc; export MLFLOW_TRACKING_URI=sqlite:///mlflow.db; cd ~/results; "
    tune = f"gensweep tune ~/gensweep/search_spaces/quickstart.yaml --storage s3://{BUCKET}/sweeps {changes}"
    log = tmp_path / "tune.log"
    asked = time.time()
    driver = head.start(*shell, f"{settings}{tune}", log=log)
    wait_for(
        "checkpoints",
        lambda: cloud.storage.keys("sweeps/quickstart/checkpoints/") or driver.poll() is not None,
        TIMEOUT,
    )
    assert driver.poll() is None, tail(log)
    record["seconds_until_first_checkpoint"] = time.time() - asked

    reclaimed = next(iter(cloud.living(SPOT)))
    cloud.reclaim(reclaimed)
    lost = time.time()
    before = set(cloud.living())
    wait_for("another worker", lambda: set(cloud.living(SPOT)) - before - {reclaimed} or driver.poll() is not None)
    record["seconds_until_another_was_launched"] = time.time() - lost
    driver.wait(TIMEOUT)
    assert driver.returncode == 0, tail(log)
    record["seconds_of_sweep"] = time.time() - asked
    trials = json.loads(head.run(*shell, f"{settings}gensweep trials quickstart --format json").stdout)
    record["trials_lost"] = sum(trial["status"] != "finished" for trial in trials)
    assert {trial["status"] for trial in trials} == {"finished"}

    wait_for("idle workers to leave", lambda: not cloud.living(SPOT), TIMEOUT)
    record["workers"] = [
        [round(look["time"] - begin), sum(each[2] == SPOT and each[4] == "running" for each in look["instances"])]
        for look in cloud.history
    ]
    down = time.time()
    ray(cloud, "down", "--yes", "cluster.yaml")
    record["seconds_of_ray_down"] = time.time() - down
    assert wait_for("no instances", lambda: not cloud.living())
    assert cloud.call("ec2", "describe_volumes")["Volumes"] == []
