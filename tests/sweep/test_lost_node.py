"""A cluster that loses nodes: what holds the sweep together lies on the driver's node, and no trial ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray.train
from processes import environment_for_another_ray

pytestmark = pytest.mark.ray


def sweep_that_loses_nodes(root, mode):
    """What the sweep in a process of its own says."""
    here = Path(__file__).parent
    environment = environment_for_another_ray()
    command = [sys.executable, str(here / "lost_node.py"), str(root), mode]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads((root / "said.json").read_text())
    assert said["elsewhere"] == dict.fromkeys(said["here"], 0)
    assert all(said["here"].values()), said["here"]
    assert said["statuses"] == ["finished"] * 3
    assert len(set(said["sums"])) == 1  # trials that lost their workers went on from their checkpoints
    assert said["losses"]
    assert not any(counts for _, counts in said["losses"]), said["losses"]  # none may, with `retries` 0
    return said


def test_a_sweep_waits_while_all_nodes_that_train_are_lost_and_goes_on_when_one_comes(tmp_path):
    assert len(sweep_that_loses_nodes(tmp_path, "replaced")["losses"]) == 2


@pytest.mark.skipif(not hasattr(ray.train, "get_preemption_info"), reason="this version of Ray tells workers nothing")
def test_a_node_that_is_about_to_go_makes_a_checkpoint_before(tmp_path):
    said = sweep_that_loses_nodes(tmp_path, "drained")
    ((_, images),) = said["saved"]
    assert images % 100 == 25  # between two scores
