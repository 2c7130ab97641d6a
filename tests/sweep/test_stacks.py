"""Where processes hang, seen from another process of their machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gensweep.sweep.stacks import examine

#: A process that says its descriptor, then hangs: in Python, or in C with Python's lock held.
HANGS = """
import ctypes, time
sleep = ctypes.PyDLL(None).sleep
from gensweep.sweep.heartbeat import Heartbeat
made = Heartbeat(print, rank=0, node="n", meetings=int, timeout=60.0)
print(made.sign().descriptor, flush=True)
def sleeps():
    time.sleep(1000)
def holds_the_lock():
    while True:  # the signal wakes it
        sleep(1000)
{}()
"""


@pytest.fixture
def hanging():
    """Starts a process that hangs in a function."""
    processes = []

    def start(function):
        process = subprocess.Popen([sys.executable, "-c", HANGS.format(function)], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="stacks are shown on Linux only")
@pytest.mark.parametrize("function", ["sleeps", "holds_the_lock"])
def test_a_process_shows_where_it_hangs_also_when_it_holds_pythons_lock(hanging, function):
    process, descriptor = hanging(function)
    found = examine(process.pid, descriptor)
    while f" in {function}" not in found.threads and process.poll() is None:  # it has only just begun
        found = examine(process.pid, descriptor)
    assert process.poll() is None
    assert found.line.startswith(f"in {function}, ")
    assert found.stack in found.threads


@pytest.mark.skipif(sys.platform != "linux", reason="stacks are shown on Linux only")
def test_a_stopped_process_and_one_that_has_ended_are_told_apart_from_one_that_hangs(hanging):
    process, descriptor = hanging("sleeps")
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    assert examine(process.pid, descriptor).line == "it is stopped (SIGSTOP), so it cannot show where"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert examine(process.pid, descriptor).line == "it has ended"
    process.wait()
    assert examine(process.pid, descriptor).line == "it has ended"


@pytest.mark.skipif(sys.platform != "linux", reason="stacks are shown on Linux only")
def test_a_process_that_has_got_the_number_of_one_that_ended_is_left_alone():
    with subprocess.Popen(["/bin/sleep", "100"], stdout=subprocess.PIPE) as other:
        status = Path(f"/proc/{other.pid}/stat")
        while status.read_text().rpartition(")")[2].split()[0] != "S":  # its program is still read from the disk
            time.sleep(0.01)
        assert examine(other.pid, 1).line == "it has ended"
        assert other.poll() is None
        other.kill()
