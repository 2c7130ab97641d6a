"""Detect out-of-memory kills, and suggest settings that fit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gensweep.machine import own_cgroups

#: Messages of Ray's memory monitor.
_BY_MONITOR = re.compile(r"running low on memory|OutOfMemoryError")
_USED = re.compile(r"pid=(\d+), actual memory used=([\d.]+)GB")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills() -> int:
    """Number of processes in this process's control groups that the kernel killed for lack of memory; 0 if unknown."""
    folders = list(own_cgroups("memory"))
    files = [file for folder in folders if (file := folder / "memory.oom_control").is_file()]
    # Version 1 counts each group alone, version 2 also the groups below.
    files += [file for folder in folders if (file := folder / "memory.events").is_file()][:1]
    return sum(int(found[1]) for file in files if (found := _COUNT.search(file.read_text())))


def memory_cause(details: str, kills: int) -> str | None:
    """Why a worker was killed, if for lack of memory; `kills` is the kernel's number of kills since its start."""
    if _BY_MONITOR.search(details):
        return "Ray killed a worker because its node ran out of memory"
    return "the system killed a worker because the memory limit was reached" if kills > 0 else None


def memory_used(details: str) -> dict[int, float]:
    """Gigabytes of the processes in the report of Ray's memory monitor, by process id."""
    return {int(pid): float(used) for pid, used in _USED.findall(details)}


def what_fits(config: Any) -> str:
    """Describe the network and batch that needed the memory, and suggest settings that need about half of it."""
    values: Mapping[str, Any] = config if isinstance(config, Mapping) else {}
    training, scoring, network = (values.get(name) or {} for name in ("training", "evaluation", "network"))
    batch, parts = training.get("batch_size"), training.get("accumulation") or 1
    if not isinstance(batch, int) or batch < 2 * parts:
        return "run fewer trials at a time: resources.concurrent"
    known = [f"network {network['kind']}"] if "kind" in network else []
    known += [f"width {network['width']}"] if "width" in network else []
    held = f" of {parts} parts" if parts > 1 else ""
    half = [f"training.accumulation={2 * parts} ({batch // (2 * parts)} images at a time)"]
    if isinstance(scored := scoring.get("batch_size"), int) and scored > 1:
        half.append(f"or, where it scores, evaluation.batch_size={scored // 2}")
    return f"{', '.join([*known, f'batches of {batch}{held}'])}; about half of it fits with --set {' '.join(half)}"
