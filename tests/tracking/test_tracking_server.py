"""A real tracking server that dies in the middle of a sweep and comes back."""

import threading
import time
from functools import partial

import pytest
import requests
from logged import LoggedSweep
from made_up import grid
from mlflow_runs import artifacts, history, runs_of
from tracking_server import TrackingServer

from gensweep.sweep.events import Started
from gensweep.sweep.state import SweepState
from gensweep.tracking.sweep_copy import SweepCopy
from gensweep.tracking.sync import sync, sync_all
from gensweep.tracking.view import LogView

pytestmark = pytest.mark.mlflow


def test_a_server_that_comes_back_misses_nothing(tmp_path, monkeypatch, capsys):
    server, asking, send = TrackingServer(tmp_path), [], requests.Session.send

    def noted(*given, **more):
        asking.append(threading.current_thread())
        return send(*given, **more)

    monkeypatch.setattr(requests.Session, "send", noted)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    sweep, steps = LoggedSweep(tmp_path / "sweeps", "flaky", trials=2, keep_best=1), range(100, 1100, 100)
    made = tmp_path / "made"
    made.mkdir()
    (made / "checkpoint.json").write_text("{}")
    grid(made / "samples.png", 10, 0, 2)
    try:
        server.start()
        view = LogView("MLflow", partial(SweepCopy, sweep.folder), lock=sweep.folder.copy_lock())
        for number, trial in enumerate(("t0000", "t0001")):
            sweep.start(trial, {"x": number}, {"family": {"kind": "gan"}, "x": number})
            for step in steps:
                sweep.evaluate(trial, step, 100 - step / 100 - number, made)
                view(Started(trial), SweepState())
                if trial == "t0000" and step == 500:
                    while not asking:
                        time.sleep(0.01)
                    server.kill()
            sweep.end(trial)
        sweep.close()
        view.close(1)
        assert threading.main_thread() not in asking
        sync_all(tmp_path / "sweeps")
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"MLflow is not up to date (the MLflow store {server.uri} is not reachable (")
        assert line.endswith("the sweep itself is complete in sweeps/flaky")
        server.start()
        assert sync(sweep.folder)
        runs = runs_of(sweep.folder)
        for number, trial in enumerate(("t0000", "t0001")):
            assert history(runs[trial], "fd") == [(step, 100 - step / 100 - number) for step in steps]
            assert runs[trial].data.params == {"family.kind": "gan", "x": str(number)}
            assert len([path for path in artifacts(runs[trial], "images") if path.endswith(".png")]) == len(steps)
        assert [path.is_dir() for path in tmp_path.glob("artifacts/*/models")] == [True]
        assert capsys.readouterr() == ("", "")
    finally:
        server.kill()
