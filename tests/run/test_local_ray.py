"""The Ray that a sweep starts for itself on this machine: who can reach it, and what is said once it is lost."""

import subprocess
import sys

import pytest

from gensweep.errors import GensweepError
from gensweep.run.cluster import connected

pytestmark = pytest.mark.ray

#: Prints the addresses on which it and all that it started listen; then kills Ray's head and waits.
PROGRAM = """
import os, signal, subprocess, sys, time
from contextlib import suppress
from pathlib import Path
os.environ["GENSWEEP_TEST"] = mark = str(os.getpid())
from gensweep.last_words import last_words
from gensweep.run.cluster import connected

def processes():
    for folder in Path("/proc").iterdir():
        try:
            if folder.name == mark or f"GENSWEEP_TEST={mark}".encode() in (folder / "environ").read_bytes():
                yield folder
        except (OSError, ValueError):
            pass

def sockets(folder):
    with suppress(OSError):  # it has ended
        for file in (folder / "fd").iterdir():
            with suppress(OSError):  # it has closed it
                yield os.readlink(file)

def listening():
    own = {name for folder in processes() if folder.name.isdigit() for name in sockets(folder)}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in own:
                yield words[1].split(":")[0]

with last_words("to go on: this"), connected():
    print(*listening(), file=sys.__stdout__, flush=True)
    for folder in processes():
        if b"gcs_server" in (folder / "cmdline").read_bytes().split(b"\\0")[0]:
            os.kill(int(folder.name), signal.SIGKILL)
    time.sleep(600)
"""
#: 127.0.0.1, and the same as an address of IPv6, as Linux writes them in its tables.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.fixture(scope="module")
def done():
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)


def test_all_ports_are_on_loopback(done):
    addresses = done.stdout.split()
    assert len(addresses) >= 5, done.stderr
    assert set(addresses) <= LOOPBACK


def test_a_lost_head_ends_the_driver_which_tells_how_to_go_on(done):
    assert done.returncode == 1
    assert done.stderr.endswith("to go on: this\n")
    assert "Traceback" not in done.stderr


def test_too_few_open_files_are_refused_before_ray_starts(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # by another test
    monkeypatch.setattr("resource.getrlimit", lambda kind: (64, 64))
    with (
        pytest.raises(GensweepError, match=r"limit of open files is 64, but Ray needs 256; .* ulimit -n"),
        connected(1),
    ):
        pass
