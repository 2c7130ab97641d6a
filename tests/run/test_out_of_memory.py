"""What is said of workers that were out of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gensweep import machine
from gensweep.run.out_of_memory import memory_cause, memory_used, oom_kills, what_fits

CONFIG = {
    "network": {"kind": "unet", "width": 64},
    "training": {"batch_size": 128, "accumulation": 2},
    "evaluation": {"batch_size": 256},
}


def test_batch_network_and_what_fits_are_named():
    assert what_fits(CONFIG) == (
        "network unet, width 64, batches of 128 of 2 parts; about half of it fits with --set training.accumulation=4 "
        "(32 images at a time) or, where it scores, evaluation.batch_size=128"
    )


@pytest.mark.parametrize("config", [{}, None, {"training": {"batch_size": 1}}])
def test_where_nothing_can_be_halved_fewer_trials_are_advised(config):
    assert what_fits(config) == "run fewer trials at a time: resources.concurrent"


def test_memory_kills_by_ray_are_distinguished_from_other_kills():
    by_ray = "1 worker(s) were killed due to the node running low on memory."
    other = "(1) the process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called"
    assert "Ray killed a worker because its node ran out of memory" in memory_cause(by_ray, 0)
    assert memory_cause(other, 0) is None
    assert "the memory limit was reached" in memory_cause(other, 1)


def test_memory_of_the_processes_that_ray_considered_is_read():
    said = (
        "Considered workers: [\n"
        "Selected to kill: (Actor(12cb): job ID=01, pid=17, actual memory used=0.06GB, worker ID=18)\n"
        "(Task: job ID=01, required resources={CPU: 1}, pid=18, actual memory used=21.95GB, worker ID=77)\n]\n"
    )
    assert memory_used(said) == {17: 0.06, 18: 21.95}


def test_kills_are_read_from_both_versions_of_control_groups(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    (tmp_path / "memory" / "b").mkdir(parents=True)
    (tmp_path / "memory" / "b" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n")
    (tmp_path / "membership").write_text("4:memory:/b\n1:cpu:/\n0::/a\n")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "membership")
    assert oom_kills() == 7
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "none")
    assert oom_kills() == 0


#: Enters a group of 64 MiB, starts a process that takes more, and prints how the kills are counted.
LIMITED = """
import json, subprocess, sys
from gensweep.run.out_of_memory import memory_cause, oom_kills
open(sys.argv[1], "w").write("0")
before = oom_kills()
hungry = subprocess.run([sys.executable, "-c", "x = b'x' * 2**28"], stderr=subprocess.DEVNULL)
print(json.dumps([hungry.returncode, memory_cause("", oom_kills() - before)]))
"""


@pytest.fixture
def group():
    """A memory group of 64 MiB; skips where none can be made."""
    groups = Path("/sys/fs/cgroup")
    first = (groups / "memory" / "memory.limit_in_bytes").exists()
    folder = (groups / "memory" if first else groups) / f"gensweep-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(2**26))
    except OSError as error:
        pytest.skip(f"no memory group can be made here ({error})")
    yield folder
    folder.rmdir()


def test_a_process_that_the_kernel_kills_at_a_limit_is_told_as_such(group):
    words = [sys.executable, "-c", LIMITED, str(group / "cgroup.procs")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [-9, "the system killed a worker because the memory limit was reached"]
