"""More trials run at once as nodes join a cluster, and fewer as they go, without a restart of the sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment_for_another_ray

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What the drill says: from one place a cluster grows to two and shrinks to one; a trial loses a worker."""
    here = Path(__file__).parent
    environment = environment_for_another_ray()
    root = tmp_path_factory.mktemp("resized")
    command = [sys.executable, str(here / "resized.py"), str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads((root / "told.json").read_text())


def test_the_number_of_trials_at_once_follows_the_nodes(told):
    assert told["removed"], told
    assert told["running"] == 2
    assert told["scaled"][0] == 2
    assert told["scaled"][-1] == 1
    assert told["statuses"] == ["finished"] * 3


def test_a_trial_goes_on_with_fewer_workers_as_if_nothing_had_been(told):
    first, second = told["worlds"][:4], told["worlds"][4:]
    assert first == sorted(first, reverse=True)
    assert (first[0], first[-1]) == (2, 1)
    assert second == [1] * 4
    one, other = told["sums"]
    assert one == other
