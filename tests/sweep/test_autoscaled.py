"""Ray's own autoscaler brings the nodes that a sweep asks for, and takes them away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment_for_another_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.parametrize("version", [1, 2])
def test_a_sweep_begins_without_nodes_gets_what_it_can_use_and_leaves_none_behind(version):
    here = Path(__file__).parent
    environment = environment_for_another_ray()
    environment |= {"RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, str(here / "autoscaled.py"), str(version)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    told = json.loads(last)
    assert "3 workers with 1 CPU each (3 CPU in all), but 2 CPU on 3 node(s), 2 of them added" in told["refused"]
    assert told["statuses"] == ["finished"] * 4
    assert (told["nodes"][0], max(told["nodes"]), told["nodes"][-1]) == (1, 3, 1)
    assert told["scaled"][0] == [0, 2]
    assert [2, 0] in told["scaled"]
    assert "waiting for 2 x 1 CPU; " in done.stdout
