"""Workers that were out of memory: how that is told from other ends, and what would fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
#: What Ray's memory monitor says of a process that it has killed.
_BY_MONITOR = re.compile(r"running low on memory|OutOfMemoryError")
_USED = re.compile(r"pid=(\d+), actual memory used=([\d.]+)GB")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills(groups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """How many processes the kernel has killed for lack of memory in the control groups of this process.

    0 where it does not say.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(found[1]) for file in _counters(groups, lines) if (found := _COUNT.search(_text(file))))


def memory_cause(details: str, kills: int) -> str | None:
    """Why a worker was killed, if that was for lack of memory; `kills` is how many the kernel has killed since."""
    if _BY_MONITOR.search(details):
        return "Ray killed a worker because its node ran out of memory"
    return "the system killed a worker because the memory limit was reached" if kills > 0 else None


def memory_used(details: str) -> dict[int, float]:
    """Gigabytes of the processes, by their ids, that Ray's memory monitor killed or considered to kill."""
    return {int(pid): float(used) for pid, used in _USED.findall(details)}


def what_fits(config: Any) -> str:
    """The network and batch that needed the memory, and settings that need about half of it."""
    training, scoring, network = (_section(config, name) for name in ("training", "evaluation", "network"))
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


def _section(config: Any, name: str) -> Mapping[str, Any]:
    section = config.get(name) if isinstance(config, Mapping) else None
    return section if isinstance(section, Mapping) else {}


def _counters(groups: Path, lines: list[str]) -> Iterator[Path]:
    """The files that count, of version 2 or 1, for a process whose membership says these lines."""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            file = "memory.oom_control" if controllers else "memory.events"
            root = groups / controllers if controllers else groups
            # In a container the group may be shown as the root of all.
            yield next((each for each in (root / path.lstrip("/") / file, root / file) if each.is_file()), root / file)
            if controllers:  # version 1 counts in the very group
                yield from (
                    root / str(above).lstrip("/") / file
                    for above in PurePosixPath(path).parents
                    if str(above) != "/" and (root / path.lstrip("/") / file).is_file()
                )


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
