"""A sweep that asks for all cores of a machine on which another one uses them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gensweep.config.sweep_config import Resources
from gensweep.machine import usable_cores
from gensweep.sweep.core_claims import claimed_cores, other_claims
from gensweep.sweep.folder import SweepFolder

pytestmark = pytest.mark.ray

DRIVER = Path(__file__).parent / "sharing_driver.py"


def test_a_sweep_says_whom_it_waits_for_and_begins_once_there_are_cores_for_it(tmp_path):
    cores = usable_cores()
    with claimed_cores("first", Resources(cpus_per_worker=cores), threading.Event()):
        pid = other_claims()[0].pid
        command = [sys.executable, DRIVER, tmp_path, "second"]
        second = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        told = second.stderr.readline()
        assert not SweepFolder(tmp_path, "second").exists
    rest = second.communicate()[1].splitlines()
    assert second.returncode == 0, rest
    waits = f"sweep first (process {pid}) uses {cores} of this machine's {cores} cores: second waits until there"
    assert told.startswith(waits)
    assert rest[0] == f"second takes {cores}"
    assert other_claims() == []
