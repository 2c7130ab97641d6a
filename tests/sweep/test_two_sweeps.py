"""Two drivers on one machine, each of which asks for all of its cores."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gensweep.machine import usable_cores
from gensweep.sweep.events import SessionEnded, SessionStarted
from gensweep.sweep.folder import SweepFolder

pytestmark = pytest.mark.ray

DRIVER = Path(__file__).parent / "sharing_driver.py"


def times(root, name, kind):
    return [entry.time for entry in SweepFolder(root, name).log.read() if isinstance(entry.event, kind)]


def test_the_second_sweep_says_whom_it_waits_for_and_no_core_is_given_away_twice(tmp_path):
    drivers = {}
    for name in ("first", "second"):
        command = [sys.executable, DRIVER, tmp_path, name]
        drivers[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while name == "first" and not (tmp_path / name / "events.jsonl").exists() and drivers[name].poll() is None:
            time.sleep(0.1)  # it has its cores before it starts Ray
    said = {name: driver.communicate()[1] for name, driver in drivers.items()}
    assert [driver.returncode for driver in drivers.values()] == [0, 0], said
    cores, pid = usable_cores(), drivers["first"].pid
    assert "first" not in said["first"]
    waits = f"sweep first (process {pid}) uses {cores} of this machine's {cores} cores: second waits until there"
    told, taken = said["second"].splitlines()[:2]
    assert told.startswith(waits)
    assert taken == f"second takes {cores}"
    assert times(tmp_path, "second", SessionStarted)[0] >= times(tmp_path, "first", SessionEnded)[0]
