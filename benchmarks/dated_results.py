"""The files that benchmarks leave in benchmarks/results: what was measured, when, on which machine, of which commit."""

from __future__ import annotations

import datetime
import json
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """What numbers depend on; without a device, those of the processor."""
    cpu = next(
        (line.partition(": ")[2] for line in _cpuinfo().splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True)
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device is not None and device.type == "cuda" else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
    }


def dated(benchmark: str, **measured: Any) -> dict[str, Any]:
    """What a file holds: the benchmark, the date and the machine (another one, if that was measured), and the rest."""
    date = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    return {"benchmark": benchmark, "date": date, "machine": machine()} | measured


def write_result(benchmark: str, name: str = "", *, file: Path | None = None, **measured: Any) -> Path:
    """Write results/BENCHMARK-DATE-PROCESSOR-NAME.json, or another file, and say where it is."""
    result = dated(benchmark, **measured)
    processor = "-".join(re.sub(r"\(\w+\)", "", result["machine"]["cpu"]).lower().split()[:2])
    parts = benchmark, result["date"][:10], processor, name
    file = file or RESULTS / f"{'-'.join(filter(None, parts))}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {file.relative_to(RESULTS.parents[1]) if file.is_relative_to(RESULTS) else file}")
    return file


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
