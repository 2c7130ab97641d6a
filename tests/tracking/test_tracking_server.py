"""A real tracking server that dies in the middle of a sweep and comes back."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from made_up import IDENTITY, grid

from gensweep.tracking.artifacts import metric_history, sample_grid
from gensweep.tracking.records import Report, SweepStart, TrialEnd, TrialStart
from gensweep.tracking.runs import checkpoint_folder, find_sweep, trial_config
from gensweep.tracking.writer import MlflowWriter, check_server, sync, sync_all


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
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        deadline = time.monotonic() + 60
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
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_that_dies_and_comes_back_misses_nothing(server, tmp_path, capsys):
    check_server()
    root, steps = tmp_path / "sweeps" / "flaky", range(100, 1100, 100)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "checkpoint.json").write_text("{}")
    grid(checkpoint / "samples.png", 10, 0, 2)
    writer = MlflowWriter({"keep_best": 1}, argv=["gensweep", "tune", "flaky.yaml"])
    writer.sweep_started(SweepStart("flaky", root, 2, 0, 1, "fd", "min", False))
    for number, trial in enumerate(("t0000", "t0001")):
        writer.trial_started(TrialStart(trial, {"x": number}, {"family": {"kind": "gan"}, "x": number}))
        for step in steps:
            begun = time.monotonic()
            writer.trial_reported(Report(trial, step, {"fd": 100 - step / 100 - number}, IDENTITY, checkpoint))
            assert time.monotonic() - begun < 1.0
            if trial == "t0000" and step == 500:
                time.sleep(1.0)
                server.kill()
        writer.trial_ended(
            TrialEnd(trial, "finished", 90.0 - number, None, 1000, checkpoint, {"images": 1000.0}, IDENTITY)
        )
    writer.sweep_ended("finished")
    begun = time.monotonic()
    remaining = writer.close(10)
    assert time.monotonic() - begun < 12
    assert remaining > 20
    assert sync_all(tmp_path / "sweeps") == 1  # the server is still away, and that is no error
    server.start()
    assert sync(root, timeout=120) == 0
    found = find_sweep("flaky")
    assert [(trial.trial, trial.status, trial.best) for trial in found.trials] == [
        ("t0000", "finished", False),
        ("t0001", "finished", True),
    ]
    for number, trial in enumerate(found.trials):
        assert metric_history(trial, "fd") == [(step, 100 - step / 100 - number) for step in steps]
        assert trial_config(trial.run_id) == {"family": {"kind": "gan"}, "x": number}
        assert trial.objective is not None
        assert trial.objective.value == 90.0 - number
    (checkpoint / "checkpoint.json").unlink()
    kept = checkpoint_folder("flaky")
    assert (kept / "checkpoint.json").read_text() == "{}"
    assert sample_grid(found.trials[0]) is not None
    assert not (root / "tracking" / "spool" / "records.jsonl").exists()
    assert capsys.readouterr().out == ""
