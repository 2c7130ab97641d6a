"""A cluster that gains and loses nodes: more or fewer trials and workers run at once, and no trial ends.

What holds a sweep together lies on the driver's node.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jobs import count
from list_reporter import ListReporter
from processes import environment_for_another_ray

from gensweep.training.reporter import WorkerContext

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the sweeps on such a cluster, in a process of its own, say."""
    root = tmp_path_factory.mktemp("nodes")
    command = [sys.executable, str(Path(__file__).parent / "changing_nodes.py"), str(root)]
    # A spot notice is a file of this folder, not one for every sweep of this machine.
    environment = environment_for_another_ray() | {"TMPDIR": str(root), "RAY_TMPDIR": "/tmp"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads((root / "told.json").read_text())


@pytest.mark.parametrize("mode", ["replaced", "drained"])
def test_a_lost_node_is_not_a_failure_of_its_trials(told, mode, tmp_path):
    sweep = told[mode]
    assert sweep["statuses"] == ["finished"] * 2
    assert sweep["losses"]
    assert not any(counts for _, counts in sweep["losses"]), sweep["losses"]  # none may, with `retries` 0
    alone = ListReporter()
    steps = 6 if mode == "replaced" else 12
    count({"steps": steps}, WorkerContext(0, 1, torch.device("cpu"), tmp_path), alone)
    assert sweep["sums"] == [alone.checkpoints[-1][0].signals["sum"]] * 2


@pytest.mark.parametrize("mode", ["replaced", "drained"])
def test_what_holds_a_sweep_together_lies_on_the_drivers_node(told, mode):
    sweep = told[mode]
    assert all(sweep["here"].values()), sweep["here"]
    assert sweep["elsewhere"] == dict.fromkeys(sweep["here"], 0)


def test_the_number_of_concurrent_trials_follows_the_nodes(told):
    sweep = told["replaced"]
    assert len(sweep["losses"]) == 2
    assert sweep["running"] == 2
    assert sweep["scaled"][0] == 2
    assert sweep["scaled"][-1] == 1


def test_a_trial_resumes_with_fewer_workers_and_so_do_later_ones(told):
    trials = {
        name: [world for trial, world in told["drained"]["worlds"] if trial == name] for name in ("t0000", "t0001")
    }
    first, second = trials.values()
    assert first == sorted(first, reverse=True)
    assert (first[0], first[-1]) == (2, 1)
    assert second == [1] * 12


def test_a_node_that_is_about_to_go_makes_a_checkpoint_before(told):
    ((trial, images),) = told["drained"]["saved"]
    assert trial == "t0000"
    assert images % 100 == 25  # between two scores
