"""A Ray cluster and an S3 on the hosts, and what a drill wants to know of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from namespace_hosts import PROJECT, Host, Network, tail

HERE = Path(__file__).parent
PORT = 6379
S3_PORT = 5000
BUCKET = "gensweep-sweeps"
REGION = "us-west-2"
PLACE = f"<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
OBJECT_STORE = 100 * 2**20  # bytes; only configurations and reports go through it
TOKEN = "a-secret-of-the-drill"
#: Seconds in which a host or server has to answer, on a machine with other work.
PATIENCE = 180.0

WARN = """
import sys
from datetime import UTC, datetime, timedelta
from gensweep.extras.cluster import spot_notice
spot_notice.announced_end = lambda: datetime.now(UTC) + timedelta(seconds=int(sys.argv[1]))
spot_notice.main()
"""
#: Asks the simulator from within its host; it looks at whose credential it is to tell S3 from its other services.
REQUEST = """
import sys, urllib.request
method, url, body = sys.argv[1:]
signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-west-2/s3/aws4_request, Signature=x"}
signed["Content-Type"] = "application/xml"
request = urllib.request.Request(url, body.encode() or None, signed, method=method)
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def wait_for(what: str, found: Callable[[], Any], timeout: float = PATIENCE, period: float = 0.2) -> Any:
    """Wait until there is something.  Raises AssertionError after so many seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := found()):
        assert time.monotonic() < deadline, f"after {timeout:g} s not yet: {what}"
        time.sleep(period)
    return answer


class Storage:
    """The simulator of S3 on a host of its own."""

    def __init__(self, network: Network, address: str | None = None) -> None:
        self.host = network.host("s3", memory=2**30, address=address)
        self.url = f"http://{self.host.address}:{S3_PORT}"
        self._log = network.folder / "s3.log"
        command = [sys.executable, str(HERE / "s3_simulator.py"), self.host.address, str(S3_PORT)]
        self.host.start(*command, log=self._log, environment={"MOTO_IAM_LOAD_MANAGED_POLICIES": "true"})
        wait_for(f"an S3: {self._log}", lambda: "Running on" in self._log.read_text())
        self._request("PUT", f"/{BUCKET}", PLACE)

    @property
    def environment(self) -> dict[str, str]:
        """Of who uses it."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def become(self, mode: str) -> None:
        """See the simulator."""
        self._request("PUT", "/drill/mode", mode)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """All steps that were trained, with time, sweep, trial, step and host, in order."""
        return [json.loads(line) for line in self._said if line.startswith("{") and line.endswith("}")]

    @property
    def refused(self) -> int:
        """How many requests were refused as it was full."""
        return self._said.count("REFUSED")

    @property
    def _said(self) -> list[str]:
        return self._log.read_text().splitlines()

    def keys(self, prefix: str) -> list[str]:
        """The names of the objects below a prefix, 1000 at most."""
        listed = self._request("GET", f"/{BUCKET}?list-type=2&prefix={urllib.parse.quote(prefix)}")
        return [part.partition("</Key>")[0] for part in listed.split("<Key>")[1:]]

    def _request(self, method: str, path: str, body: str = "") -> str:
        return self.host.run(sys.executable, "-c", REQUEST, method, self.url + path, body).stdout


class RayCluster:
    """A head without CPUs for training, and workers; with tokens, as cluster.yaml has it."""

    def __init__(self, network: Network, storage: Storage) -> None:
        self.network, self.storage = network, storage
        self.head: Host | None = None
        self._watch: Path | None = None

    def prepare(self, host: Host) -> None:
        """What an image would bring: the project, the token, where S3 is."""
        paths = [PROJECT, HERE, PROJECT / "tests", PROJECT / "tests" / "run"]
        host.environment |= {
            "PYTHONPATH": ":".join(map(str, paths)),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            **self.storage.environment,
        }
        host.write(f"{host.environment['HOME']}/.ray/auth_token", TOKEN)

    def start_head(self, host: Host) -> None:
        """Start Ray on the host that holds the cluster together; it trains nothing."""
        self.head = host
        self._ray_start(host, 0, "--head", f"--port={PORT}", "--include-dashboard=false")
        self.watch()

    def join(self, host: Host, cpus: int = 1) -> None:
        """Start Ray on a worker."""
        self._ray_start(host, cpus, f"--address={self.address}")

    def leave(self, host: Host) -> None:
        """Stop Ray on a host."""
        host.run("ray", "stop", "--force")

    def move(self, head: Host, workers: Sequence[Host]) -> None:
        """Start a new cluster on the hosts of one whose head is lost."""
        for host in (head, *workers):
            self.leave(host)
        self.start_head(head)
        for worker in workers:
            self.join(worker)

    @property
    def address(self) -> str:
        """RAY_ADDRESS."""
        assert self.head is not None
        return f"{self.head.address}:{PORT}"

    def _ray_start(self, host: Host, cpus: int, *options: str) -> None:
        self.prepare(host)
        fixed = [f"--node-ip-address={host.address}", f"--object-store-memory={OBJECT_STORE}"]
        host.run("ray", "start", f"--num-cpus={cpus}", *fixed, *options, timeout=PATIENCE)

    # -- what happens ----------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Note from now on which nodes live."""
        assert self.head is not None
        self._watch = self.network.folder / f"nodes-{time.time():.0f}.jsonl"
        self.head.start(
            sys.executable, str(HERE / "watch_nodes.py"), log=self._watch, environment={"RAY_ADDRESS": self.address}
        )
        wait_for(f"a watch: {self._watch}", lambda: self.nodes)

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """Each change of the living nodes: its time, and their ids by address."""
        assert self._watch is not None
        return [json.loads(line) for line in self._watch.read_text().splitlines() if line.startswith("{")]

    def noticed(self, host: Host, since: float, timeout: float = PATIENCE) -> float:
        """Seconds until Ray takes a host for dead, which may be once it has come back as another node."""
        node = [look["alive"].get(host.address) for look in self.nodes if look["time"] <= since][-1]

        def found() -> list[float]:
            looks = [look for look in self.nodes if look["time"] > since]
            return [look["time"] - since for look in looks if look["alive"].get(host.address) != node]

        seconds: list[float] = wait_for(f"Ray notices that {host.name} is gone", found, timeout)
        return seconds[0]

    def warn(self, host: Host, seconds: int) -> None:
        """Run the watcher of spot notices on a host, as if AWS announced the end."""
        host.run(sys.executable, "-c", WARN, str(seconds))

    def is_lost(self, host: Host) -> bool:
        """Whether Ray takes a host for dead at this moment."""
        return host.address not in self.nodes[-1]["alive"]

    def join_again(self, host: Host) -> None:
        """Start Ray anew on a host that was taken for dead, and wait until it is there."""
        self.leave(host)
        self.join(host)
        self.wait_for_nodes([host])

    def wait_for_nodes(self, hosts: Sequence[Host]) -> None:
        """Wait until Ray knows all of them."""
        addresses = {host.address for host in hosts}
        wait_for(f"nodes {addresses}", lambda: addresses <= set(self.nodes[-1]["alive"]))


class Driver:
    """A sweep of trivial trials that runs on a host of the cluster."""

    def __init__(self, cluster: RayCluster, host: Host, name: str, **settings: Any) -> None:
        self.cluster, self.host, self.name = cluster, host, name
        self.settings = {"name": name, "storage": f"s3://{BUCKET}/sweeps", **settings}
        self.log = cluster.network.folder / f"{name}.log"
        self.process = self._start()

    def _start(self, **more: str) -> subprocess.Popen[str]:
        options = [f"--{key}={value}" for key, value in {**self.settings, **more}.items()]
        command = [sys.executable, str(HERE / "drill_driver.py"), "sweeps", *options]
        environment = {"RAY_ADDRESS": self.cluster.address}
        return self.host.start(*command, log=self.log, environment=environment, append=bool(more))

    def resume(self, host: Host) -> None:
        """Go on with the sweep from its storage, on a host that knows nothing of it."""
        self.host = host
        self.process = self._start(resume=f"{self.settings['storage']}/{self.name}")

    @property
    def steps(self) -> list[dict[str, Any]]:
        """All that were trained in this sweep."""
        return [step for step in self.cluster.storage.steps if step["sweep"] == self.name]

    def wait(self, timeout: float) -> dict[str, Any]:
        """How the sweep ended.  Raises AssertionError with its log if it does not end in so many seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} goes on after {timeout:g} s: {tail(self.log)}") from None
        last = self.log.read_text().splitlines()[-1]
        assert last.startswith("{"), f"{self.name} ended with {self.process.returncode}: {tail(self.log)}"
        told: dict[str, Any] = json.loads(last)
        return told


def repeated(steps: Sequence[Mapping[str, Any]]) -> int:
    """How many steps were trained more than once, each time counted."""
    return sum(times - 1 for times in Counter((step["trial"], step["step"]) for step in steps).values())
