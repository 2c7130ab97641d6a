"""A real tracking server that dies in the middle of a sweep and comes back."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import requests
from logged import LoggedSweep
from made_up import grid

from gensweep.sweep.events import Started
from gensweep.sweep.state import SweepState
from gensweep.tracking.artifacts import metric_history, sample_grid, trial_config
from gensweep.tracking.runs import checkpoint_folder, find_sweep
from gensweep.tracking.store import check_server
from gensweep.tracking.sync import sync, sync_all
from gensweep.tracking.view import MlflowView


class Server:
    """`mlflow server` on loopback, started and killed at will."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # eight processes that nobody needs here
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Server(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def asking(monkeypatch):
    """The threads that have sent a request, in order."""
    threads, send = [], requests.Session.send

    def noted(*arguments, **keywords):
        threads.append(threading.current_thread())
        return send(*arguments, **keywords)

    monkeypatch.setattr(requests.Session, "send", noted)
    return threads


@pytest.mark.mlflow
def test_a_server_that_dies_and_comes_back_misses_nothing_and_the_driver_never_waits(server, asking, tmp_path, capsys):
    check_server()
    steps = range(100, 1100, 100)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "checkpoint.json").write_text("{}")
    grid(checkpoint / "samples.png", 10, 0, 2)
    sweep = LoggedSweep(tmp_path / "sweeps", "flaky", trials=2, keep_best=1)
    view = MlflowView(sweep.folder)
    asking.clear()
    for number, trial in enumerate(("t0000", "t0001")):
        sweep.start(trial, {"x": number}, {"family": {"kind": "gan"}, "x": number})
        for step in steps:
            sweep.evaluate(trial, step, 100 - step / 100 - number, checkpoint)
            view(Started(trial), SweepState())
            if trial == "t0000" and step == 500:
                while not asking:
                    time.sleep(0.01)
                server.kill()
        sweep.end(trial)
    sweep.close()
    assert view.close(1) > 10
    assert threading.main_thread() not in asking
    assert sync_all(tmp_path / "sweeps") == 1  # the server is still away, and that is no error
    server.start()
    assert sync(sweep.folder, timeout=120) == 0
    found = find_sweep("flaky")
    assert [(trial.trial, trial.status, trial.best) for trial in found.trials] == [
        ("t0000", "finished", False),
        ("t0001", "finished", True),
    ]
    for number, trial in enumerate(found.trials):
        assert metric_history(trial, "fd") == [(step, 100 - step / 100 - number) for step in steps]
        assert trial_config(trial) == {"family": {"kind": "gan"}, "x": number}
        assert trial.objective is not None
        assert trial.objective.value == 90.0 - number
    (checkpoint / "checkpoint.json").unlink()
    kept = checkpoint_folder("flaky")
    assert (kept / "checkpoint.json").read_text() == "{}"
    assert sample_grid(found.trials[0]) is not None
    assert capsys.readouterr().out == ""
