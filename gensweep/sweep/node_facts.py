"""What a machine of a cluster is like, seen from itself, and what is wrong with it beside the driver's machine."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

from gensweep.cache import cache_folder
from gensweep.files import MIN_FREE_GIB
from gensweep.sweep.storage import START_PATIENCE, worker_problem

#: What must be of one version everywhere: objects travel between processes, and numbers follow from the versions.
PACKAGES = ("gensweep", "torch", "ray")

#: Seconds of difference between clocks from which times in logs and the signatures of requests to S3 mislead.
MAX_CLOCK_DIFFERENCE = 5.0

_PRINT_MEMORIES = """
from torch import cuda
print(*[cuda.get_device_properties(each).total_memory for each in range(cuda.device_count())])
"""


@dataclass(frozen=True)
class NodeFacts:
    """What a machine says of itself; `gpus` is how many PyTorch can use, `data` which data sets lie in its cache."""

    host: str
    versions: dict[str, str | None]
    token: bool
    free_gib: float
    gpus: int
    data: tuple[str, ...]
    storage_problem: str | None


def node_facts(*, storage: str | None = None, data: Sequence[str] = (), count_gpus: bool = False) -> NodeFacts:
    """Look at this machine, write and read in a storage if one is given, and look for data sets of some names."""
    versions = {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}
    return NodeFacts(
        host=socket.gethostname(),
        versions=versions,
        token=os.environ.get("RAY_AUTH_MODE") == "token",
        free_gib=shutil.disk_usage(tempfile.gettempdir()).free / 2**30,
        gpus=len(gpu_memories()) if count_gpus else 0,
        data=tuple(name for name in data if (cache_folder() / name).is_dir()),
        storage_problem=None if storage is None else worker_problem(storage, own=False, patience=START_PATIENCE),
    )


def node_problems(there: NodeFacts, here: NodeFacts, *, gpus: float, clock: float) -> Iterator[str]:
    """What is wrong with a machine that offers some GPUs, and whose clock differs by seconds, each with what to do."""
    for name, version in there.versions.items():
        wanted = here.versions[name]
        if version != wanted:
            yield f"{name} is {version or 'missing'} there and {wanted} here; install {name} {wanted} there"
    if there.token != here.token:
        yield (
            f"token authentication is {_on(there.token)} there and {_on(here.token)} here; start Ray with "
            "RAY_AUTH_MODE=token on every machine"
        )
    if there.storage_problem:
        yield there.storage_problem
    if abs(clock) > MAX_CLOCK_DIFFERENCE:
        yield f"its clock is {clock:+.0f} s off this machine's; start a time service there, such as chrony"
    if there.free_gib < MIN_FREE_GIB:
        yield f"{there.free_gib:.1f} GiB of disk are free, less than {MIN_FREE_GIB}; make room, or take a larger disk"
    if there.gpus < gpus:
        yield (
            f"it offers {gpus:g} GPUs, but PyTorch can use {there.gpus}; look at nvidia-smi there, and whether its "
            "PyTorch was built for that driver"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def gpu_memories() -> tuple[int, ...]:
    """The bytes of each GPU of this machine that PyTorch can use.

    Asked in a process of its own, as Ray hides GPUs from a process that asked for none, and CUDA may crash.
    """
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run([sys.executable, "-c", _PRINT_MEMORIES], env=environment, capture_output=True, text=True)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def _on(token: bool) -> str:
    return "on" if token else "off"
