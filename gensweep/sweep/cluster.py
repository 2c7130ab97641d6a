"""Connecting to Ray: a local one by default, or the cluster at RAY_ADDRESS."""

from __future__ import annotations

import io
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from gensweep.errors import GensweepError

__all__ = ["cluster_nodes", "connected", "set_switches"]

_log = logging.getLogger(__name__)

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
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


class _Log(io.TextIOBase):
    """Writes to the log, a record a line."""

    def write(self, text: str) -> int:
        if text.strip():
            _log.info("%s", text.rstrip())
        return len(text)


def _check_answers(address: str) -> None:
    """Ray itself would wait for more than a minute, and print."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise GensweepError(_NO_CLUSTER.format(address=address, error=error)) from error


_NO_CLUSTER = (
    "no Ray cluster answers at RAY_ADDRESS={address} ({error}); start one, or unset RAY_ADDRESS to use this machine"
)


def cluster_nodes() -> list[Mapping[str, float]]:
    """The living nodes of the Ray cluster that this process is connected to."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


@contextmanager
def connected() -> Iterator[None]:
    """A connection to Ray, closed at the end unless it was there before."""
    set_switches()
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS") or "local"
    _check_answers(address)
    # Only configurations and reports go through the object store.
    local: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 256 * 2**20}
    # Ray prints what befalls its processes on stdout, whatever log_to_driver says; stdout is for data.
    with redirect_stdout(_Log()):
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                **(local if address == "local" else {}),
            )
        except ConnectionError as error:
            raise GensweepError(_NO_CLUSTER.format(address=address, error=error)) from error
        try:
            yield
        finally:
            ray.shutdown()
