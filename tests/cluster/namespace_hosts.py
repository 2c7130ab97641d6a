"""Hosts of a made-up data centre on one machine: Linux namespaces, joined by a bridge in a namespace of its own.

A host has its own network, processes, host name, home, temporary folder, shared memory and memory limit; programs and
the project are the machine's, and cannot be changed from there.  Nothing shows in the machine's own namespaces, and
hosts end with the process that made them, however that ends.  Needs root, `unshare`, `nsenter` and `setpriv`
(util-linux), `ip` and `tc` (iproute2).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from memory_groups import MemoryGroup, remove_left

PROJECT = Path(__file__).parents[2]
TOOLS = ("unshare", "nsenter", "setpriv", "ip", "tc", "mount")
NETWORK = "10.77.0.0/24"
FIRST_ADDRESS = 10  # of the hosts that are given none
HOME = "/home/ubuntu"  # the login of the images in cluster.yaml
NICE = "5"  # the machine may have other work
NOBODY = "02:00:00:00:00:01"  # a hardware address that no host has: what is sent there is lost without a word


def missing() -> str | None:
    """What this machine lacks for hosts, or None."""
    if os.geteuid() != 0:
        return "hosts as namespaces need root"
    if lacking := [tool for tool in TOOLS if shutil.which(tool) is None]:
        return f"hosts as namespaces need {', '.join(lacking)}: apt-get install util-linux iproute2"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "ip", "link", "add", "br0", "type", "bridge"],
        capture_output=True,
        text=True,
    )
    if tried.returncode:
        return f"this machine allows no namespaces or bridges: {tried.stderr.strip()}"
    try:
        MemoryGroup("try", 2**20).remove()
    except OSError as error:
        return f"this machine allows no memory control groups: {error}"
    return None


class Host:
    """One machine: off until `boot`."""

    def __init__(self, network: Network, name: str, address: str, memory: int, files: Mapping[str, Path]) -> None:
        self.network, self.name, self.address = network, name, address
        self.environment = {
            "HOME": HOME,
            "USER": "ubuntu",
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin",
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }
        """Of everything that runs there."""
        self._memory, self._files = memory, dict(files)
        self._outer: subprocess.Popen[str] | None = None
        self._inner = 0
        self._group: MemoryGroup | None = None
        self._started: list[subprocess.Popen[str]] = []

    # -- power -----------------------------------------------------------------------------------------------------

    def boot(self) -> Host:
        """Switch it on, with empty file systems and the same address as ever."""
        self._group = MemoryGroup(f"{self.network.switch}-{self.name}", self._memory)  # networks may have like hosts
        files = {"/etc/hosts": self.network.hosts_file, str(self._group.root): self._group.path, **self._files}
        kept = sorted({str(PROJECT), *map(str, map(Path, (sys.prefix, sys.base_prefix)))})
        specification = {
            "name": self.name,
            "home": HOME,
            "size": str(self._memory // 2),
            "files": {target: str(source) for target, source in files.items()},
            "kept": kept,
        }
        self._outer = self._popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-ES", str(Path(__file__).with_name("host_init.py")), json.dumps(specification)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._outer.stdout is not None
        said = self._outer.stdout.readline()
        assert said == "ready\n", f"{self.name} did not boot: {said}{self._outer.stdout.read()}"
        self._inner = _child(self._outer.pid)
        self.plug()
        return self

    def kill(self) -> None:
        """Take its power away: every process is gone at once, nobody is told, and its files are lost."""
        assert self._outer is not None, f"{self.name} is off"
        if self._inner:  # it has booted
            with suppress(ProcessLookupError):  # it has ended with the thread that made it
                os.kill(self._inner, signal.SIGKILL)
        self._outer.kill()
        self._outer.wait()
        assert self._outer.stdout is not None
        self._outer.stdout.close()
        for process in self._started:
            process.wait()
        self._outer, self._inner, self._started = None, 0, []
        assert self._group is not None
        for _ in range(100):  # the last processes are being taken out of the group
            try:
                return self._group.remove()
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"{self.name} has processes that do not end: {self._group.members.read_text()}")

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self._outer is not None

    # -- work ------------------------------------------------------------------------------------------------------

    def run(
        self, *command: str, check: bool = True, timeout: float = 120, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the home folder and wait.  Raises AssertionError with what it said if it fails."""
        process = self._popen(
            self._inside(command, environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        with process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                self._end(process)
                raise
        done = subprocess.CompletedProcess(command, process.returncode, out, err)
        assert not check or done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.returncode}\n{out}\n{err}"
        return done

    def start(
        self, *command: str, log: Path, environment: Mapping[str, str] | None = None, append: bool = False
    ) -> subprocess.Popen[str]:
        """Start a command that goes on; what it says goes to a file of the machine, which outlives the host."""
        with log.open("a" if append else "w") as opened:
            process = self._popen(
                self._inside(command, environment), stdout=opened, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        self._started.append(process)
        return process

    def write(self, path: str, text: str, mode: int = 0o600) -> None:
        """Make a file, and the folder it lies in."""
        script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1" && chmod "$3" "$1"'
        self.run("sh", "-c", script, "sh", path, text, f"{mode:o}")

    # -- trouble ---------------------------------------------------------------------------------------------------

    def plug(self) -> None:
        """Put its cable into the switch."""
        port = f"to-{self.name}"
        switch = str(self.network.switch)
        self._ip("link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", switch)
        self.network.ip("link", "set", port, "master", "br0", "up")
        self._ip("address", "add", f"{self.address}/{self.network.addresses.prefixlen}", "dev", "eth0")
        self._ip("link", "set", "eth0", "up")

    def unplug(self) -> None:
        """Pull its cable out."""
        self._ip("link", "delete", "eth0")

    def partition(self, *others: Host) -> None:
        """Lose everything that it and the others send each other; all other traffic goes on."""
        for one, other in self._pairs(others):
            one._ip("neighbour", "replace", other.address, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent")

    def heal(self, *others: Host) -> None:
        """End a partition."""
        for one, other in self._pairs(others):
            one._ip("neighbour", "delete", other.address, "dev", "eth0")

    # -- inside ----------------------------------------------------------------------------------------------------

    def _pairs(self, others: Sequence[Host]) -> list[tuple[Host, Host]]:
        pairs = [pair for other in others for pair in ((self, other), (other, self))]
        return [(one, other) for one, other in pairs if one.on]

    def _inside(self, command: Sequence[str], environment: Mapping[str, str] | None) -> list[str]:
        variables = {**self.environment, **(environment or {})}
        target = ["nsenter", "-t", str(self._inner), "--net", "--mount", "--uts", "--pid", f"--wdns={HOME}", "--"]
        return [*target, "env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command]

    def _popen(self, command: Sequence[str], **streams: Any) -> subprocess.Popen[str]:
        assert self._group is not None, f"{self.name} is off"
        join = 'echo 0 > "$0" && exec nice -n "$1" "${@:2}"'
        command = ["bash", "-c", join, str(self._group.members), NICE, *command]
        # In a session of its own, or Ctrl-C would end a host before the test that uses it.
        return subprocess.Popen(command, text=True, start_new_session=True, **streams)

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End a command in the host: `nsenter` waits for a child, which outlives it."""
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()

    def _ip(self, *words: str) -> None:
        subprocess.run(["nsenter", "-t", str(self._inner), "--net", "ip", *words], check=True)


class Network:
    """A switch and the hosts that are plugged into it; use as a context, which switches all off at its end."""

    def __init__(self, folder: Path, addresses: str = NETWORK) -> None:
        remove_left()
        self.folder, self.addresses = folder, ip_network(addresses)
        self.hosts: dict[str, Host] = {}
        self.hosts_file = folder / "hosts"
        self.hosts_file.write_text("127.0.0.1 localhost\n")
        command = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--net", "sleep", "infinity"]
        self._process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True)
        self.switch = self._process.pid
        machine = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self.switch}/ns/net").readlink() == machine:
            assert self._process.poll() is None, "the switch has no namespace"
            time.sleep(0.01)
        self.ip("link", "add", "br0", "type", "bridge")
        self.ip("link", "set", "br0", "up")

    def ip(self, *words: str) -> None:
        """Run `ip` in the switch."""
        subprocess.run(["nsenter", "-t", str(self.switch), "--net", "ip", *words], check=True)

    def host(
        self,
        name: str,
        *,
        memory: int = 3 * 2**30,
        files: Mapping[str, Path] | None = None,
        address: str | None = None,
    ) -> Host:
        """A new host, which is on; `files` of the machine are shown at other places in it."""
        address = address or str(self.addresses[FIRST_ADDRESS + len(self.hosts)])
        with self.hosts_file.open("a") as file:  # a name must not mean 127.0.0.1, or gloo listens there
            file.write(f"{address} {name}\n")
        self.hosts[name] = Host(self, name, address, memory, files or {})
        return self.hosts[name].boot()

    def close(self) -> None:
        """Switch everything off."""
        with ExitStack() as everything:  # whatever one of them raises
            everything.callback(self._process.wait)
            everything.callback(self._process.kill)
            for host in self.hosts.values():
                if host.on:
                    everything.callback(host.kill)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        if parent == pid:
            found.append(int(folder.name))
    return found


def _child(pid: int) -> int:
    (child,) = _children(pid)
    return child


def tail(log: Path, lines: int = 40) -> str:
    """The end of a file, for a message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
