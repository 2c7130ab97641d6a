"""Sweeps sent to MLflow by commands: which ones, and the one line on stderr when the store cannot be used."""

import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from logged import LoggedSweep
from made_up import mlflow_store
from mlflow_runs import runs_of

from gensweep.sweep.folder import SweepFolder
from gensweep.tracking.sweep_copy import Sent
from gensweep.tracking.sync import sync, sync_all

pytestmark = pytest.mark.mlflow

#: Runs `sync_all` alone, and says whether it needed MLflow.
COMMAND = """
import sys
from pathlib import Path
from gensweep.tracking.sync import sync_all
sync_all(Path("sweeps"))
print("mlflow" in sys.modules)
"""


def ended(root, name, status="finished"):
    sweep = LoggedSweep(root / "sweeps", name)
    sweep.start("t0000", {}, {"family": {"kind": "gan"}})
    sweep.evaluate("t0000", 100, 5.0)
    sweep.end("t0000")
    if status != "running":
        sweep.close(status)
    return sweep.folder


def command():
    """Run it in the current folder; returns whether it needed MLflow, and its stderr."""
    done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def test_mlflow_is_imported_only_if_something_is_missing(store, tmp_path):
    with mlflow_store(tmp_path):
        folder, database = ended(tmp_path, "current"), tmp_path / "mlflow.db"
        assert [command(), command()] == [("True", ""), ("False", "")]
        database.unlink()  # then the runs are made again
        assert [command(), command()] == [("True", ""), ("False", "")]
        assert runs_of(folder)["t0000"].data.metrics["fd"] == 5.0


def test_a_sweep_whose_driver_was_lost_is_shown_as_interrupted(store):
    folder = ended(store, "lost", "running")
    sync_all(store / "sweeps")
    assert folder.state().status == "interrupted"
    assert runs_of(folder)[""].info.status == "KILLED"


def test_a_running_sweep_is_left_to_its_driver(store):
    folder = ended(store, "busy", "running")
    with SweepFolder(store / "sweeps", "busy").locked():
        sync_all(store / "sweeps")
    assert runs_of(folder) == {}
    assert folder.state().status == "running"


def test_a_sweep_of_another_store_is_left_alone(store, monkeypatch):
    folder = ended(store, "elsewhere")
    Sent("http://127.0.0.1:9 gensweep").write(folder)
    sync_all(store / "sweeps")
    assert runs_of(folder) == {}


def test_reading_sweeps_of_another_project_makes_no_database_here(store, tmp_path, monkeypatch):
    ended(store, "read")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    sync_all(store / "sweeps")
    sync_all(tmp_path / "sweeps")
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_came_from_another_folder_is_not_written(store, tmp_path, monkeypatch, capsys):
    """MLflow keeps absolute paths of artifacts: a copy would write into the original."""
    original, copied = tmp_path / "original", tmp_path / "copied"
    original.mkdir()
    with mlflow_store(original):
        ended(original, "copied")
        assert command() == ("True", "")
    shutil.copytree(original, copied)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copied}/mlflow.db")
    LoggedSweep(copied / "sweeps", "copied").close()
    assert not sync(SweepFolder(copied / "sweeps", "copied"))
    assert f"was moved from {original} and still refers to it" in capsys.readouterr().err


class Answering(BaseHTTPRequestHandler):
    """Answers with the status of its server, after a while; without a status, with other bytes than HTTP."""

    def do_GET(self):
        time.sleep(self.server.seconds)
        if not self.server.status:
            self.wfile.write(b"\x1b[2Jno HTTP\n")
            return
        self.send_response(200 if self.path == "/health" else self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *given):
        pass


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("dead", "is not reachable ([Errno 111] Connection refused); start the server"),
        ("hanging", "is not reachable (timed out); start the server"),
        ("401", "refuses your login"),
        ("500", "is not reachable"),
        ("0", "is not reachable (no answer in HTTP); start the server"),
        ("garbled", "is damaged (file is not a database); restore a backup, or move its file away"),
    ],
)
def test_a_store_in_trouble_costs_seconds_and_one_line(tmp_path, monkeypatch, capsys, trouble, words):
    monkeypatch.chdir(tmp_path)
    uri = "http://127.0.0.1:9" if trouble == "dead" else None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.seconds, server.status = 6.0 if trouble == "hanging" else 0.0, int(trouble) if trouble.isdigit() else 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if trouble == "garbled":
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        Path("mlflow.db").write_bytes(b"no database at all" * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri or f"http://127.0.0.1:{server.server_port}")
    for name in ("a", "b"):
        ended(tmp_path, name)
    begin = time.monotonic()
    sync_all(tmp_path / "sweeps")
    assert time.monotonic() - begin < 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("MLflow is not up to date (")
    assert words in line
    assert line.endswith("; the sweep itself is complete in sweeps/a")
    server.shutdown()
    server.server_close()
