"""The hosts that the drills run on: apart from each other and from the machine, and breakable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from namespace_hosts import Network

pytestmark = pytest.mark.cluster

LISTEN = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    while connection.recv(65536): pass
    connection.sendall(b"got it"); connection.close()
"""
SEND = """
import socket, sys, time
begin = time.monotonic()
connection = socket.create_connection((sys.argv[1], 7000), timeout=2)
connection.settimeout(20)
connection.sendall(bytes(int(sys.argv[2]))); connection.shutdown(socket.SHUT_WR)
assert connection.recv(6) == b"got it"
print(time.monotonic() - begin)
"""


@pytest.fixture(scope="module")
def pair(network_of):
    with network_of() as network:
        yield network.host("one", memory=256 * 2**20), network.host("two", memory=256 * 2**20)


def send(source, target, size=1):
    """Seconds that it takes to hand over so many bytes, or None if they do not arrive."""
    done = source.run(sys.executable, "-c", SEND, target.address, str(size), check=False)
    return float(done.stdout) if done.returncode == 0 else None


def test_a_host_has_its_own_name_home_files_and_processes(pair, tmp_path):
    one, two = pair
    one.write("/tmp/mine", "text")
    one.write(f"{one.environment['HOME']}/mine", "text")
    assert one.run("hostname").stdout == "one\n"
    assert not two.run("sh", "-c", "ls /tmp ~").stdout.count("mine")
    assert not Path("/tmp/mine").exists()
    assert len(one.run("sh", "-c", "ls -d /proc/[0-9]*").stdout.splitlines()) < 6
    assert one.run("getent", "hosts", "two").stdout.split() == [two.address, "two"]


def test_traffic_is_lost_between_two_hosts_or_slow(pair, tmp_path):
    one, two = pair
    log = tmp_path / "listener"
    two.start(sys.executable, "-c", LISTEN, two.address, log=log)
    while "listening" not in log.read_text():
        time.sleep(0.05)
    assert send(one, two) is not None
    one.partition(two)
    assert send(one, two) is None
    one.heal(two)
    assert send(one, two) is not None
    one.slow(rate="1mbit")
    assert send(one, two, size=250_000) > 1.5
    one.fast()
    one.unplug()
    assert send(one, two) is None
    one.plug()
    assert send(one, two) is not None


def test_a_process_that_takes_more_than_the_hosts_memory_is_killed(pair):
    one, _ = pair
    done = one.run(sys.executable, "-c", "x = b'x' * 400_000_000", check=False)
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_a_host_without_power_forgets_its_files_and_comes_back_with_its_address(pair, tmp_path):
    one, two = pair
    sleeping = one.start("sleep", "1000", log=tmp_path / "sleep")
    one.write("/tmp/mine", "text")
    one.kill()
    assert sleeping.poll() is not None
    one.boot()
    assert "mine" not in one.run("ls", "/tmp").stdout
    assert one.address in two.run("getent", "hosts", "one").stdout


MAKER = """
import sys, time
from pathlib import Path
from namespace_hosts import Network
network = Network(Path(sys.argv[1]))
print(network.switch, network.host("three")._inner, flush=True)
time.sleep(1000)
"""


def test_hosts_end_with_the_process_that_made_them(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", MAKER, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    ) as maker:
        made = maker.stdout.readline().split()
        maker.kill()
    deadline = time.monotonic() + 5
    while any((Path("/proc") / pid).exists() for pid in made) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in made if (Path("/proc") / pid).exists()]
    with Network(tmp_path):
        pass  # removes what the killed one could not
    assert not list(Path("/sys/fs/cgroup").glob(f"**/gensweep-drill-{maker.pid}-*"))
