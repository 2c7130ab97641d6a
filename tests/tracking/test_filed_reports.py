"""Reports that cannot be filed with the run of their sweep: one line each, within seconds."""

import socket
import time

import pytest
from logged import LoggedSweep

from gensweep.api.mlflow_verdicts import file_reports
from gensweep.sweep.stored_sweeps import read_sweep
from gensweep.tracking.store import store_name
from gensweep.tracking.sweep_copy import Sent

pytestmark = pytest.mark.mlflow


def ended(root, name):
    sweep = LoggedSweep(root / "sweeps", name)
    sweep.start("t0000", {}, {"family": {"kind": "gan"}})
    sweep.evaluate("t0000", 100, 5.0)
    sweep.end("t0000")
    return sweep


def test_a_report_missed_by_a_silent_server_is_filed_later(store, monkeypatch, caplog):
    sweep = ended(store, "late")
    sweep.close()
    with socket.create_server(("127.0.0.1", 0)) as server, monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        Sent(store_name(sweep.folder.path), sweep.folder.log.size).write(sweep.folder)
        begin = time.monotonic()
        file_reports([read_sweep(sweep.folder)])
        assert time.monotonic() - begin < 12
    (line,) = caplog.messages
    assert line.startswith("the report of late was not filed (the MLflow store http://127.0.0.1:")
    assert "is not reachable (timed out); start the server" in line
    folder = sweep.file()
    file_reports([read_sweep(folder)])
    assert len(caplog.messages) == 1
    assert Sent.read(folder).report == folder.log.size
