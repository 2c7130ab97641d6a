"""A cloud: moto's EC2 says which instances there are, and each of them is a host with the address that it was given.

What an image of the cloud would hold is made up where a host cannot have it: root's programs do nothing, packages are
those of the tests, there is no GPU, and no data set is fetched.  Needs openssh-server and rsync.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from namespace_hosts import HOME, Host, Network
from ray_hosts import HERE, TOKEN, Storage, wait_for

ADDRESSES = "172.31.0.0/16"  # those of an account's first network, to which instances are added
LAPTOP, AWS = "172.31.255.1", "172.31.255.2"
TOOLS = {"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client", "rsync": "rsync"}
INSTANCE_MEMORY = 3 * 2**30

SUDO = """#!/bin/sh
[ "$1" = -E ] && shift
if [ "$1" = tee ]; then exec cat > /dev/null; fi
exec "$@"
"""
NOTHING = "#!/bin/sh\nexit 0\n"
PIP = """#!/bin/sh
if [ "$1" = freeze ]; then echo made-up==1; fi
"""
PYTHON = f"""#!/bin/sh
case "$*" in *torch.cuda.is_available*) exit 0;; esac
exec {sys.executable} "$@"
"""
GENSWEEP = f"""#!/bin/sh
if [ "$1 $2" = "data fetch" ]; then exit 0; fi
exec {sys.executable} -m gensweep "$@"
"""
RAY = f"""#!/bin/sh
exec {sys.executable} -c "from ray.scripts.scripts import main; main()" "$@"
"""


def missing_tools() -> str | None:
    """What the machine lacks, or None."""
    path = "/usr/sbin:/usr/bin:/bin"
    lacking = sorted({package for tool, package in TOOLS.items() if shutil.which(tool, path=path) is None})
    return f"the drill of ray up wants: apt-get install {' '.join(lacking)}" if lacking else None


class Cloud:
    """The simulated AWS, a laptop from which it is used, and a thread that gives each instance a host."""

    def __init__(self, network: Network) -> None:
        self.network, folder = network, network.folder
        self._accounts = _accounts(folder)
        self.storage = Storage(network, address=AWS)
        self.laptop = network.host("laptop", memory=2**30, address=LAPTOP, files=self._accounts)
        self._install(self.laptop)
        self._log = folder / "instances.jsonl"
        self.storage.host.start(
            sys.executable, str(HERE / "list_instances.py"), log=self._log, environment=self.storage.environment
        )
        self._hosts: dict[str, Host] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Give no more hosts."""
        self._closed.set()
        self._thread.join()

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """A call of AWS's API."""
        script = (
            "import boto3, json, sys; s, o, a = sys.argv[1:]\n"
            "print(json.dumps(getattr(boto3.client(s), o)(**json.loads(a)), default=str))"
        )
        words = [sys.executable, "-c", script, service, operation, json.dumps(arguments)]
        answer: dict[str, Any] = json.loads(self.storage.host.run(*words, environment=self.storage.environment).stdout)
        return answer

    @property
    def history(self) -> list[dict[str, Any]]:
        """Each change of the instances."""
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]

    def living(self, kind: str | None = None) -> list[str]:
        """The ids of the instances that are on, of one type or of all."""
        now = self.history[-1]["instances"] if self.history else []
        return [each[0] for each in now if each[4] in ("pending", "running") and kind in (None, each[2])]

    def host_of(self, instance: str) -> Host:
        """The host of an instance."""
        host: Host = wait_for(f"a host for {instance}", lambda: self._hosts.get(instance))
        return host

    def reclaim(self, instance: str) -> None:
        """Take a spot instance away."""
        self._hosts[instance].kill()
        self.call("ec2", "terminate_instances", InstanceIds=[instance])

    # -- inside ----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closed.wait(0.2):
            for instance, address, _, _, state in self.history[-1]["instances"] if self.history else ():
                if state in ("pending", "running") and instance not in self._hosts:
                    name = f"i{len(self._hosts)}"
                    host = self.network.host(name, memory=INSTANCE_MEMORY, address=address, files=self._accounts)
                    self._install(host)
                    key = f"{HOME}/.ssh/ray-autoscaler_us-west-2.pem"
                    host.write(f"{HOME}/.ssh/authorized_keys", self.laptop.run("ssh-keygen", "-y", "-f", key).stdout)
                    self._hosts[instance] = host
                elif state == "terminated" and instance in self._hosts and self._hosts[instance].on:
                    self._hosts[instance].kill()

    def _install(self, host: Host) -> None:
        """What the image holds, and a server for SSH."""
        host.environment |= self.storage.environment
        variables = {
            **self.storage.environment,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": f"{HOME}/gensweep",
            "PATH": "/run/bin:$PATH",
        }
        host.write(f"{HOME}/.bashrc", "".join(f"export {key}={value}\n" for key, value in variables.items()))
        for name, text in {"sudo": SUDO, "apt-get": NOTHING, "systemctl": NOTHING}.items():
            host.write(f"/run/bin/{name}", text, 0o755)
        for name, text in {"pip": PIP, "python": PYTHON, "gensweep": GENSWEEP, "ray": RAY}.items():
            host.write(f"{HOME}/venv/bin/{name}", text, 0o755)
        host.run("sh", "-c", "mkdir -p /run/sshd && chmod 755 /run/sshd /home/ubuntu")
        host.write(f"{HOME}/.ray/auth_token", TOKEN)
        options = ["StrictModes=no", "UsePAM=no", "PasswordAuthentication=no", "MaxStartups=100"]
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
        host.write("/run/host_key", (self.network.folder / "host_key").read_text())
        host.run(str(sshd), "-h", "/run/host_key", *(word for option in options for word in ("-o", option)))


def _accounts(folder: Path) -> Mapping[str, Path]:
    """Accounts with a user ubuntu, who is root as nobody else is on a host; and a key for the hosts' SSH."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")], check=True)
    lines = {"passwd": f"ubuntu:x:0:0::{HOME}:/bin/bash\n", "shadow": "ubuntu:*:19000:0:99999:7:::\n"}
    for name, line in lines.items():
        (folder / name).write_text(line + Path("/etc", name).read_text())
    return {f"/etc/{name}": folder / name for name in lines}
