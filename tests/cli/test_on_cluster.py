"""A sweep on a cluster, from a machine that only asks: checked, started, looked at and stopped.

The Jobs API is part of ray[default], with which every node starts so much more slowly that no other test has it.
"""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from gensweep.cli.best import best
from gensweep.cli.on_cluster import given_words
from gensweep.cli.tune import tune

SPACE = """
name: tiny
objective: {metric: fd, mode: min}
base:
  family: {kind: diffusion}
  network: {kind: unet, width: 8, multipliers: [1, 2], blocks: 1, attention: []}
  diffusion: {timesteps: 20}
  sampler: {kind: ddim, steps: 2}
  data: {kind: digits, size: 8, limit: 64}
  training: {images: 1000000, batch_size: 16}
  evaluation: {every: 500000, samples: 16}
space:
  seed: {choice: [0, 1]}
search: {trials: 1, sampler: {kind: random}}
resources: {workers: 1, cpus_per_worker: 1}
"""


@pytest.mark.parametrize(
    ("command", "line", "without", "words"),
    [
        (tune, "a.yaml --set a=1 --set 'b=x y' --detach", {"detach", "file"}, ["--set", "a=1", "--set", "b=x y"]),
        (tune, "--resume s3://b/x --detach", {"detach"}, ["--resume", "s3://b/x"]),
        (tune, "--retry x t0003 t0007 --detach", {"detach"}, ["t0003", "t0007", "--retry", "x"]),
        (best, "one two --compare --top 3 --cluster", {"cluster"}, ["one", "two", "--compare", "--top", "3"]),
        (best, "", {"cluster"}, []),
    ],
)
def test_the_head_gets_what_was_given_here(command, line, without, words):
    import shlex

    context = click.Context(command, info_name=command.name)
    command.parse_args(context, shlex.split(line))
    assert given_words(context, without=without) == words


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Laptop:
    """Runs commands beside a cluster of two nodes, which it knows by the address of its dashboard only."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        self.folder, port = folder, free_port()
        scripts = folder / "bin"
        scripts.mkdir()
        (scripts / "gensweep").write_text(f'#!/bin/sh\nexec {sys.executable} -m gensweep "$@"\n')
        (scripts / "gensweep").chmod(0o755)
        here = Path(__file__).parents[2]
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))},
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "PYTHONPATH": str(here),
            "OMP_NUM_THREADS": "1",
        }
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.environment.items():
                patch.setenv(key, value)
            # Of the cluster's processes alone, as cluster.yaml sets them.
            patch.setenv("GENSWEEP_FOLDER", str(folder / "head"))
            patch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "120")
            args = {"num_cpus": 1, "include_dashboard": True, "dashboard_port": port}
            self.cluster = Cluster(initialize_head=True, head_node_args=args)
            self.cluster.add_node(num_cpus=2)
        self.environment["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"

    def run(self, *words, code=0, **environment):
        """What `python -m WORDS` prints, away from the repository."""
        command = [sys.executable, "-m", *words]
        where = {"cwd": self.folder, "env": self.environment | environment}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, **where)
        assert done.returncode == code, done.stderr
        return done


@pytest.fixture(scope="module")
def laptop(tmp_path_factory):
    made = Laptop(tmp_path_factory.mktemp("laptop"))
    yield made
    made.cluster.shutdown()


@pytest.mark.cluster
def test_every_machine_of_a_cluster_is_looked_at(laptop, tmp_path):
    check = ("gensweep", "cluster", "check", "--format", "json", "--storage")
    address = {"RAY_ADDRESS": laptop.cluster.address}
    found = json.loads(laptop.run(*check, str(tmp_path), **address).stdout)
    assert [(node["cpus"], node["gpus"], node["problems"]) for node in found["nodes"]] == [(1, 0, []), (2, 0, [])]
    assert [node["is_head"] for node in found["nodes"]] == [True, False]
    assert all(abs(node["clock"]) < 1 and node["facts"]["versions"]["torch"] for node in found["nodes"])
    assert (found["placement_groups"], found["jobs"]) == (0, [])
    (tmp_path / "file").touch()
    failed = laptop.run(*check, str(tmp_path / "file" / "store"), code=1, **address)
    assert len(json.loads(failed.stdout)["problems"]) == 2
    assert "cannot be used" in failed.stderr


@pytest.mark.cluster
def test_a_sweep_is_started_looked_at_and_stopped_from_elsewhere(laptop):
    space = laptop.folder / "tiny.yaml"
    space.write_text(SPACE)
    job = laptop.run("gensweep", "tune", "tiny.yaml", "--detach", "--set", "search.seed=3").stdout.strip()
    assert job.startswith("gensweep-tiny-")

    def trials():
        look = [sys.executable, "-m", "gensweep", "trials", "tiny", "--cluster", "--format", "json"]
        done = subprocess.run(look, cwd=laptop.folder, env=laptop.environment, capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else []

    deadline = time.monotonic() + 240
    while [row["status"] for row in trials()] != ["running"]:
        assert time.monotonic() < deadline, laptop.run("ray.scripts.scripts", "job", "logs", job).stdout
    assert not (laptop.folder / "sweeps").exists(), "nothing of the sweep is on this machine"
    check = laptop.run("gensweep", "cluster", "check", "--format", "json", RAY_ADDRESS=laptop.cluster.address)
    found = json.loads(check.stdout)
    command = "gensweep tune --set search.seed=3 search_spaces/tiny.yaml"
    assert [(each["id"], each["command"]) for each in found["jobs"]] == [(job, command)]
    assert 0 < found["jobs"][0]["seconds"] < 240
    assert sum(node["actors"] for node in found["nodes"]) > 0
    laptop.run("ray.scripts.scripts", "job", "stop", job)
    assert [row["status"] for row in trials()] == ["stopped"]
    assert "ray job logs" not in laptop.run("ray.scripts.scripts", "job", "list").stdout, "a look leaves no job behind"
