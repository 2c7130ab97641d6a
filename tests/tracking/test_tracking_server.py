"""A real tracking server that dies in the middle of a sweep and comes back, and shows the runs that reports link to."""

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from functools import partial
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from logged import LoggedSweep
from made_up import empty_store, grid
from tracking_server import TrackingServer

from gensweep.report.budget_verdict import judge
from gensweep.report.comparison import compare
from gensweep.report.html import render
from gensweep.sweep.events import Started
from gensweep.sweep.state import SweepState
from gensweep.tracking.artifacts import sample_grid, stored_history, trial_config
from gensweep.tracking.replay import Replay
from gensweep.tracking.runs import checkpoint_folder, find_sweep
from gensweep.tracking.store_check import check_server
from gensweep.tracking.sync import sync, sync_all
from gensweep.tracking.view import LogView


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all; it begins with an empty store, as MLflow has made it once."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store(), folder / "server.db")
    server = TrackingServer(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        patch.setenv("GENSWEEP_CACHE", str(folder / "cache"))
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
    view = LogView("MLflow", partial(Replay, sweep.folder))
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
    (note,) = sync_all(tmp_path / "sweeps")  # the server is still away, and that is no error
    assert note.startswith("MLflow cannot be asked what it has, so sweeps may be shown as they were (")
    server.start()
    assert sync(sweep.folder, timeout=120) == 0
    found = find_sweep("flaky")
    assert [(trial.trial, trial.status, trial.best) for trial in found.trials] == [
        ("t0000", "finished", False),
        ("t0001", "finished", True),
    ]
    for number, trial in enumerate(found.trials):
        assert stored_history(trial, "fd") == [(step, 100 - step / 100 - number) for step in steps]
        assert trial_config(trial) == {"family": {"kind": "gan"}, "x": number}
        assert trial.objective is not None
        assert trial.objective.value == 90.0 - number
    (checkpoint / "checkpoint.json").unlink()
    kept = checkpoint_folder("flaky")
    assert (kept / "checkpoint.json").read_text() == "{}"
    assert sample_grid(found.trials[0]) is not None
    assert capsys.readouterr().out == ""


@pytest.fixture(scope="module")
def links(server, tmp_path_factory):
    """Where the report of a sweep of two trials leads to, by the id of the run that is meant."""
    sweep = LoggedSweep(tmp_path_factory.mktemp("linked") / "sweeps", "linked", trials=2)
    for number, trial in enumerate(("t0000", "t0001")):
        sweep.start(trial, {"x": number}, {"family": {"kind": "gan"}, "x": number})
        sweep.evaluate(trial, 100, 50.0 + number)
        sweep.end(trial)
    sweep.file()
    comparison = compare([find_sweep("linked")])
    found = set(re.findall(r'href="(http[^"]+)"', render(comparison, judge(comparison))))
    return {entry.trial.run_id: [each for each in found if entry.trial.run_id in each] for entry in comparison.entries}


@pytest.mark.mlflow
def test_names_in_the_report_lead_to_a_page_of_the_server_that_shows_the_run(links):
    for number, (run_id, (link,)) in enumerate(links.items()):
        place = urlsplit(link)
        page = f"{place.scheme}://{place.netloc}{place.path}"
        route, _, query = place.fragment.partition("?")
        _, experiments, experiment, runs, run = route.split("/")
        assert query == "workflowType=machine_learning"
        script = re.search(r'src="([^"]+/main[^"]*[.]js)"', _fetched(page))[1]
        assert f'"/{experiments}/:experimentId/{runs}/:runUuid"' in _fetched(urljoin(page, script))
        assert run == run_id
        shown = json.loads(_fetched(urljoin(page, f"ajax-api/2.0/mlflow/runs/get?run_id={run}")))["run"]
        assert shown["info"]["experiment_id"] == experiment
        assert {"key": "gensweep.trial", "value": f"t{number:04d}"} in shown["data"]["tags"]


@pytest.mark.mlflow
def test_a_browser_that_follows_the_link_sees_the_run(links, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no chromium or google-chrome to follow the link with")
    run_id, (link,) = next(iter(links.items()))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'browser'}"]
    command = [browser, *options, "--virtual-time-budget=60000", "--dump-dom", link]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    assert "linked/t0000" in seen
    assert run_id in seen


def _fetched(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()
