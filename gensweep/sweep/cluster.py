"""Connecting to Ray: a local one by default, or the cluster at RAY_ADDRESS."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["connected", "set_switches"]

_log = logging.getLogger(__name__)

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a configuration mean the same in every process
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # progress reports have no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # gensweep has its own
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they go to the trial's log
    "TUNE_WARN_THRESHOLD_S": "30",
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
}


def set_switches() -> None:
    """Environment variables that Ray reads, some of them at import; what the user has set wins."""
    from gensweep.sweep.switches import TRAIN_SWITCHES

    for key, value in {**SWITCHES, **TRAIN_SWITCHES}.items():
        os.environ.setdefault(key, value)


def _keep_stdout_clean() -> None:
    """Ray prints what befalls its processes on the driver's stdout, whatever log_to_driver says; stdout is for data."""
    from ray._private import worker

    def to_log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
        _log.info("%s", "\n".join(data["lines"]))

    worker.print_to_stdstream = to_log


@contextmanager
def connected() -> Iterator[None]:
    """A connection to Ray, closed at the end unless it was there before."""
    set_switches()
    import ray

    if ray.is_initialized():
        yield
        return
    _keep_stdout_clean()
    address = os.environ.get("RAY_ADDRESS") or "local"
    local: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
    try:
        yield
    finally:
        ray.shutdown()
