"""Processor and memory use of a worker's process, by the usual names of system metrics."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping

#: How the names begin.
SYSTEM = "system/"
#: Bytes of a unit of getrusage's resident set: macOS counts bytes, Linux 1,024 of them.
RESIDENT_UNIT = 1 if sys.platform == "darwin" else 1024


class SystemMeter:
    """Measures this process from one call to the next."""

    def __init__(self) -> None:
        self._seconds, self._processor_seconds = time.monotonic(), time.process_time()

    def numbers(self) -> Mapping[str, float]:
        """Processors' time since the last call, in percent of one core; memory in megabytes, and that of its GPU."""
        seconds, processor_seconds = time.monotonic(), time.process_time()
        passed = max(seconds - self._seconds, 1e-3)
        used = 100 * (processor_seconds - self._processor_seconds) / passed
        self._seconds, self._processor_seconds = seconds, processor_seconds
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RESIDENT_UNIT / 2**20
        return {
            f"{SYSTEM}cpu_utilization_percentage": used,
            f"{SYSTEM}peak_memory_usage_megabytes": resident,
            **_gpu(),
        }


def _gpu() -> Mapping[str, float]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    used = (total - free) / 2**20
    return {
        f"{SYSTEM}gpu_0_memory_usage_megabytes": used,
        f"{SYSTEM}gpu_0_memory_usage_percentage": 100 * used * 2**20 / total,
    }
