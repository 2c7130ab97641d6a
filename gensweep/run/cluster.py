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

#: Fewest open files with which Ray starts.  Measured: 64 is too few, 256 is enough.
FEWEST_OPEN_FILES = 256

SWITCHES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # most reports have no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # gensweep has its own handler
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # they go to the trial's log
    "TUNE_WARN_THRESHOLD_S": "30",
    "TUNE_MAX_PENDING_TRIALS_PG": "16",  # trials for which an autoscaler adds nodes at once; Tune's default is 1
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of a configuration mean the same in every process
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",  # the controller's poll; the default of 2 s is a second a start
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # gensweep's workers read spot notices
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",  # a cluster may have to start a machine first
}


#: The same for a Ray that a sweep starts on this machine.
LOCAL_SWITCHES = {
    # Makes Ray use and listen on 127.0.0.1 only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",  # a lost head does not come back; the default is a minute
    "RAY_health_check_timeout_ms": "60000",  # Ray is slow on a busy machine; dead processes are noticed anyway
    # Ray's memory monitor also kills processes of healthy trials; the kernel kills only the largest one.
    "RAY_memory_monitor_refresh_ms": "0",
}


def set_switches() -> None:
    """Environment variables for the driver and every trial actor; the user's own values have priority."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in the context."""
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
    """The file that exists once this machine is about to be preempted, as a spot machine is."""
    return Path(tempfile.gettempdir()) / f"gensweep-spot-notice-{os.getuid()}"


def _check_answers(address: str) -> None:
    """Raise ConnectionError if the cluster is not reachable; Ray itself would retry for a minute, and print."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ConnectionError(error) from error


def _check_open_files() -> None:
    """Raises GensweepError if the limit of open files is too low for Ray."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit < FEWEST_OPEN_FILES:
        raise GensweepError(
            f"the limit of open files is {limit}, but Ray needs {FEWEST_OPEN_FILES}; raise it, then run "
            "the command again: ulimit -n 4096"
        )


def close_token_file() -> None:
    """Make Ray's token file unreadable for other users.  Raises GensweepError if that fails."""
    if os.environ.get("RAY_AUTH_MODE") != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not file.is_file() or not file.stat().st_mode & 0o077:
        return
    try:
        file.chmod(0o600)
    except OSError as error:
        raise GensweepError(
            f"others can read {file}, the token that allows running code on the Ray cluster ({error.strerror}); run: "
            f"chmod 600 {file}, and if others use this machine, make another token: ray get-auth-token --generate"
        ) from error
    _log.warning("others could read %s, the token of the Ray cluster; now only you can", file)


def is_local() -> bool:
    """True if `connected` would start a local Ray.  Does not import Ray."""
    ray = sys.modules.get("ray")
    return not os.environ.get("RAY_ADDRESS") and not (ray is not None and ray.is_initialized())


@contextmanager
def connected(cpus: int | None = None) -> Iterator[None]:
    """A connection to Ray, closed at the end unless it existed before; a local Ray gets `cpus` CPUs."""
    set_switches()  # before the import of Ray, which reads some
    switches = LOCAL_SWITCHES if is_local() else {}
    with environment({name: value for name, value in switches.items() if name not in os.environ}):
        close_token_file()
        import ray

        if ray.is_initialized():
            yield
            return
        # Ray prints the deaths of its processes on stdout, even without log_to_driver; stdout is for data.
        with redirect_stdout(io.StringIO()):
            _connect(cpus)
            try:
                yield
            finally:
                gc.disable()  # collecting a Ray reference while Ray shuts down ends the process silently
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
        # The object store holds only configurations and reports.
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
    except Exception as error:  # Ray has no exception class for it
        said = f"the Ray cluster at {address} cannot be used: {' '.join(str(error).split())}"
        if address == "local":
            first = str(error).partition("\n")[0].partition(". ")[0]
            said = (
                f"Ray did not start ({first}): a process of Ray ended, or this machine is too busy; run the "
                "command again"
            )
        raise GensweepError(said) from error
