"""Cores, memory and threads that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Number of cores by CPU affinity, at most the limit of the control groups."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [_core_share(folder) for folder in own_cgroups("cpu")]
    return max(1, math.ceil(min([float(cores), *shares])))


def usable_memory() -> int:
    """Bytes of memory of the machine, at most the limit of the control groups."""
    limits = [_memory_limit(folder) for folder in own_cgroups("memory")]
    return int(min([float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")), *limits]))


@contextmanager
def one_thread() -> Iterator[None]:
    """Use one thread: rounding is the same everywhere, and with few images several threads mostly wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def own_cgroups(controller: str) -> Iterator[Path]:
    """Folders of this process's control groups for a controller, from its own up to the root."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        own = root / path.lstrip("/")
        # In a container whose own group is the root, that folder does not exist.
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root) and folder.is_dir())


def _core_share(folder: Path) -> float:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    quota, period = quota or _text(folder / "cpu.cfs_quota_us"), period or _text(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else math.inf


def _memory_limit(folder: Path) -> float:
    limit = _text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")
    return float(limit) if limit.isdigit() else math.inf


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
