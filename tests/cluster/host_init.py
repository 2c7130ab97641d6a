"""The first process of a host: makes its namespaces a machine of its own, says "ready", then waits for orphans.

Runs as `host_init.py SPECIFICATION` (JSON, see `HostFiles`) below `unshare`; whoever kills it takes the host's power.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

#: Where a host has a file system of its own, in memory, so that it is empty after each boot.
OWN = ("/tmp", "/run", "/home", "/dev/shm")
#: A folder that every Linux has and nobody uses here: what stays visible waits in it while the others are hidden.
STAGING = Path("/mnt")


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def bind(source: str, target: Path) -> None:
    """Show a file or folder at another place too."""
    if not target.exists() and Path(source).is_dir():
        target.mkdir(parents=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    mount("--rbind", source, str(target))


def own_file_systems(size: str, kept: list[str]) -> None:
    """Empty file systems in memory; what lies below them and is needed, such as the project, stays visible."""
    kept = [path for path in kept if path.startswith(tuple(f"{own}/" for own in OWN))]
    mount("-t", "tmpfs", "tmpfs", str(STAGING))
    for number, path in enumerate(kept):
        bind(path, STAGING / str(number))
    for own in OWN:
        mount("-t", "tmpfs", "-o", f"size={size},mode=1777", "tmpfs", own)
    for number, path in enumerate(kept):
        bind(str(STAGING / str(number)), Path(path))


def main() -> None:
    specification = json.loads(sys.argv[1])
    socket.sethostname(specification["name"])
    mount("-o", "remount,bind,ro", "/")  # nothing that runs here can harm the machine
    for target, source in specification["files"].items():
        bind(source, Path(target))
    own_file_systems(specification["size"], specification["kept"])
    Path(specification["home"]).mkdir(parents=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.sigtimedwait([signal.SIGCHLD], 1)


if __name__ == "__main__":
    main()
