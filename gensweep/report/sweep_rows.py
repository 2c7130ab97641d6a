"""Sweeps as plain values: the stable JSON of `gensweep sweeps`, and its table rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gensweep.report import wording
from gensweep.sweep.housekeeping import DiskUse
from gensweep.sweep.stored_sweeps import StoredSweep

DAY = 86_400


def sweep_json(sweep: StoredSweep, use: DiskUse | None) -> dict[str, Any]:
    """One sweep; its bytes are null if the storage cannot be read."""
    state, best = sweep.state, sweep.state.best
    costs = [trial.cost for trial in sweep.trials]
    return {
        "name": sweep.name,
        "status": state.status,
        "best": None if best is None or best.score is None else {"trial": best.trial, "value": best.score.value},
        "metric": state.metric,
        "trials": dict(Counter(trial.status for trial in sweep.trials)),
        "total": state.total,
        "flops": sum((cost.flops or 0) + (cost.scoring_flops or 0) for cost in costs),
        "device_seconds": sum(cost.all_device_seconds for cost in costs),
        "bytes": None if use is None else use.total,
        "checkpoint_bytes": None if use is None else use.checkpoints,
        "started": sweep.started.isoformat(timespec="seconds"),
        "changed": datetime.fromtimestamp(state.changed_at / 1000, UTC).isoformat(timespec="seconds"),
        "place": sweep.folder.root,
    }


def sweep_rows(sweeps: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Table rows of sweeps in the form of `sweep_json`."""
    return [
        {
            "sweep": each["name"],
            "status": each["status"],
            "best": _best(each),
            "ended": f"{sum(count for status, count in each['trials'].items() if status in ENDS)}/{each['total']}",
            "compute": wording.format_amount(each["flops"], "flops"),
            "device time": wording.duration(each["device_seconds"]),
            "size": wording.size(each["bytes"]),
            "checkpoints": wording.size(each["checkpoint_bytes"]),
            "age": format_age(time.time() - datetime.fromisoformat(each["started"]).timestamp()),
        }
        for each in sweeps
    ]


#: Statuses of trials that have ended.
ENDS = ("finished", "pruned", "failed", "infeasible")


def format_age(seconds: float) -> str:
    """Format the time since a start: 4 min 10 s, 3 h 05 min or 12 days."""
    return wording.duration(seconds) if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def _best(sweep: dict[str, Any]) -> str | None:
    best = sweep["best"]
    return None if best is None else f"{sweep['metric']} {wording.score(best['value'])} ({best['trial']})"
