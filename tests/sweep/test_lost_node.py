"""A cluster that loses a node: what holds the sweep together lies on the driver's node, wherever that is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("where", ["head", "worker"])
def test_a_lost_node_does_not_end_the_sweep(tmp_path, where):
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path]), "OMP_NUM_THREADS": "1"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, str(here / "lost_node.py"), str(tmp_path), where]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["elsewhere"] == dict.fromkeys(said["here"], 0)
    assert all(said["here"].values()), said["here"]
    assert said["statuses"] == ["finished"] * 3
    assert len(set(said["sums"])) == 1  # the trial that lost its worker went on from its checkpoint
