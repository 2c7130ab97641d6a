"""Connecting to Ray: a local one by default, or the cluster at RAY_ADDRESS."""

from __future__ import annotations

import gc
import io
import logging
import os
import resource
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from gensweep.errors import GensweepError
from gensweep.run.signals import separate_process_group

_log = logging.getLogger(__name__)

#: Open files that Ray needs at least: with 64 it does not start, with 256 it does.
FEWEST_OPEN_FILES = 256

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # progress reports have no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # gensweep has its own
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they go to the trial's log
    "TUNE_WARN_THRESHOLD_S": "30",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # trials for which an autoscaler adds nodes at once; Tune's default is 1
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a configuration mean the same in every process
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the controller's poll; the default of 2 s is a second a start
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # trials read spot notices themselves
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # a cluster may have to start a machine first
}


#: The same, of a Ray that a sweep starts for itself on this machine.
LOCAL_SWITCHES = {
    # Ray then takes 127.0.0.1 for the address of this machine, and its processes listen there alone.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # a lost head does not come back; the default is a minute
    "RAY_health_check_timeout_ms": "60000",  # Ray answers late on a busy machine; a dead process is found at once
    # Ray's memory monitor kills several processes at once, also of healthy trials; the kernel kills the largest one.
    "RAY_memory_monitor_refresh_ms": "0",
}


def set_switches() -> None:
    """Environment variables for the driver and every trial actor, some read at Ray's import; the user's own win."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def notice_file() -> Path:
    """The file whose existence says that this machine is about to be taken away, as a spot machine is."""
    return Path(tempfile.gettempdir()) / f"gensweep-spot-notice-{os.getuid()}"


def _check_answers(address: str) -> None:
    """Raise ConnectionError without an answer; Ray itself would wait for a minute, and print."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(error) from error


def _check_open_files() -> None:
    """Raises GensweepError if this process may open too few files for Ray."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < FEWEST_OPEN_FILES:
        raise GensweepError(
            f"a process may open only {limit} files here, and Ray needs {FEWEST_OPEN_FILES}; raise the limit, then run "
            "the command again: ulimit -n 4096"
        )


def close_token_file() -> None:
    """Make the token unreadable for others, where Ray reads one from a file.

    Raises GensweepError if that is not possible.
    """
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not file.is_file() or not file.stat().st_mode & 0o077:
        return
    try:
        file.chmod(0o600)
    except OSError as error:
        raise GensweepError(
            f"others can read {file}, the token with which one runs code on the Ray cluster ({error.strerror}); run: "
            f"chmod 600 {file}, and if others use this machine, make another token: ray get-auth-token --generate"
        ) from error
    _log.warning("others could read %s, the token of the Ray cluster; now only you can", file)


def is_local() -> bool:
    """True if `connected` would start a local Ray.  Ray is not imported for that."""
    ray = sys.modules.get("ray")
    return not os.environ.get("RAY_ADDRESS") and not (ray is not None and ray.is_initialized())


@contextmanager
def connected(cpus: int | None = None) -> Iterator[None]:
    """A connection to Ray, closed at the end unless it existed before; a local Ray gets `cpus` CPUs."""
    set_switches()  # Ray reads some as it is imported
    switches = LOCAL_SWITCHES if is_local() else {}
    with environment({name: value for name, value in switches.items() if name not in os.environ}):
        close_token_file()
        import ray

        if ray.is_initialized():
            yield
            return
        # Ray prints the deaths of its processes on stdout, whatever log_to_driver says; stdout is for data.
        with redirect_stdout(io.StringIO()):
            _connect(cpus)
            try:
                yield
            finally:
                gc.disable()  # a reference of Ray's that is collected while Ray shuts down silently ends the process
                try:
                    ray.shutdown()
                finally:
                    gc.enable()


def _connect(cpus: int | None) -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        _check_open_files()
        # Only configurations and reports go through the object store.
        options |= {"include_dashboard": False, "object_store_memory": 256 * 2**20, "num_cpus": cpus}
    try:
        _check_answers(address)
        with separate_process_group() if address == "local" else nullcontext():
            ray.init(address, **options)
    except ConnectionError as error:
        raise GensweepError(
            f"no Ray cluster answers at RAY_ADDRESS={address} ({error}); start one, or unset RAY_ADDRESS to use "
            "this machine"
        ) from error
    except Exception as error:  # Ray has no class for it
        said = f"the Ray cluster at {address} cannot be used: {' '.join(str(error).split())}"
        if address == "local":
            first = str(error).partition("\n")[0].partition(". ")[0]
            said = (
                f"Ray did not start ({first}): one of its processes ended, or this machine is too busy; run the "
                "command again"
            )
        raise GensweepError(said) from error
