"""The report of a running sweep: of a real one, and of logs that are written by hand."""

import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from logged import LoggedSweep
from made_up import BUDGET, grid
from PIL import Image
from typed_commands import HANGS, foreign

import gensweep as gs
from gensweep.api import live
from gensweep.api.live import LiveReport
from gensweep.cli.main import run

RELOADS = "data-reload="
SPACE = """
name: digits
objective: {metric: fd, mode: min}
budget: {images: 768}
base:
  data: {kind: digits, size: 8}
  family: {kind: gan}
  network: {kind: dcgan, width: 8}
  training: {batch_size: 16}
  evaluation: {at: [0.25, 0.5], samples: 20, batch_size: 16, extractor: {resolution: 32}}
space:
  gan.generator_learning_rate: {float: [1.0e-4, 1.0e-3], log: true}
search: {trials: 2, scheduler: {kind: fifo}, sampler: {kind: random}}
resources: {workers: 1, cpus_per_worker: 1, concurrent: 1}
"""
#: As `gensweep`, with a new version as often as possible: the trials are short.
COMMAND = """
import sys
from gensweep.api import live
from gensweep.cli.main import run
live.SHARE, live.MIN_PAUSE = 1.0, 0.1
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.ray
@pytest.mark.mlflow
def test_a_sweep_shows_its_curves_and_pictures_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.yaml").write_text(SPACE)
    file, versions = tmp_path / "out" / "live.html", list[str]()
    environment = {key: value for key, value in os.environ.items() if not foreign(key)}
    words = [sys.executable, "-c", COMMAND, "tune", "digits.yaml", "--report", str(file)]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as tuning:
        until = time.monotonic() + HANGS
        while tuning.poll() is None and time.monotonic() < until:
            if file.exists() and (page := file.read_text(encoding="utf-8")) not in versions[-1:]:
                versions.append(page)
            time.sleep(0.02)
        tuning.kill()
        assert tuning.wait() == 0, tuning.stderr.read()
    *before, last = [*versions, file.read_text(encoding="utf-8")]
    running = [page for page in before if RELOADS in page]
    assert any("No score yet" in page for page in before)
    assert any("0/2 trials" in page and "Score against budget" in page for page in running)
    assert any(page.count("How the images form") == 1 and "25 %: " in page for page in running)
    assert all(page.rstrip().endswith(("</html>", "</body>")) for page in before)
    assert RELOADS not in last
    assert "refresh" not in last
    assert [part.name for part in file.parent.iterdir()] == ["live.html"]
    for trial in ("t0000", "t0001"):
        assert last.count(f'alt="Samples of digits/{trial}"><small>') == 3

    # The weights of a picture give its images again.
    best = gs.best("digits")
    shown = np.asarray(Image.open(best.folder.picture(best.trial, best.best.evaluation.images, "samples")))
    again = gs.load(best.name).sample(1, seed=0)[0, 0].numpy()
    assert np.abs(shown[2:66:8, 2:66:8, 0].astype(int) - again).max() <= 1


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep whose one trial has been evaluated twice, and whose driver holds its lock."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    made = LoggedSweep(
        "sweeps", settings={"name": "a", "search": {"scheduler": {"kind": "asha"}}, "keep_best": 1}, trials=2
    )
    made.start("t0000", {"width": 1}, {"family": {"kind": "gan"}, "training": {"images": BUDGET}})
    with made.folder.locked():
        yield made


def evaluate(sweep, tmp_path, share, score):
    folder = tmp_path / f"checkpoint-{share}"
    folder.mkdir()
    (folder / "checkpoint.json").write_text("{}")
    grid(folder / "samples.png", 1.0, 7)
    sweep.evaluate("t0000", int(share * BUDGET), score, folder)


def test_the_page_reloads_until_the_last_version(sweep, tmp_path):
    report = LiveReport(tmp_path / "live.html", "a", root=tmp_path / "sweeps")
    report.write()
    waiting = (tmp_path / "live.html").read_text()
    assert "No score yet" in waiting
    assert 'http-equiv="refresh"' in waiting
    assert "a: 0/2 trials" in waiting
    evaluate(sweep, tmp_path, 0.25, 90.0)
    evaluate(sweep, tmp_path, 0.5, 50.0)
    report.write()
    page = (tmp_path / "live.html").read_text()
    assert RELOADS in page
    assert "Running: a: 0/2 trials, " in page
    assert " left." in page
    assert [f"<small>{words}</small>" in page for words in ("25 %: 90", "50 %: 50")] == [True, True]
    report.write(last=True)
    assert RELOADS not in (tmp_path / "live.html").read_text()


def test_of_many_evaluations_the_gallery_shows_six(sweep, tmp_path):
    for tenth in range(1, 10):
        evaluate(sweep, tmp_path, tenth / 10, 100.0 - tenth)
    LiveReport(tmp_path / "live.html", "a", root=tmp_path / "sweeps").write()
    page = (tmp_path / "live.html").read_text()
    assert re.findall(r"<small>(\d+) %: ", page) == ["10", "30", "40", "60", "70", "90"]


def test_a_version_waits_for_a_hundred_times_what_the_last_one_took(sweep, tmp_path, monkeypatch):
    now, spent, file = [100.0], [0.0], tmp_path / "live.html"
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(live.time, "thread_time", lambda: spent.append(spent[-1] + 0.25) or spent[-1])
    report = LiveReport(file, "a", root=tmp_path / "sweeps")
    written = []
    for _ in range(60):
        file.unlink(missing_ok=True)
        report.catch_up()
        if file.exists():
            written.append(now[0])
        now[0] += 1
    assert written == [100.0, 125.0, 150.0]


def test_a_report_that_cannot_be_written_is_one_warning(sweep, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    report = LiveReport(tmp_path / "file" / "live.html", "a", root=tmp_path / "sweeps")
    report.write()
    report.write(last=True)
    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        f"the report {tmp_path}/file/live.html was not written"
    ]


@pytest.mark.parametrize(("storage", "runs"), [(None, False), ("/somewhere", True)])
def test_a_sweep_without_a_driver_here_may_run_where_its_storage_is(tmp_path, storage, runs):
    sweep = LoggedSweep(tmp_path / "sweeps", settings={"search": {"scheduler": {"kind": "fifo"}}})
    sweep.folder.create(sweep.folder.settings | ({} if storage is None else {"storage": storage}))
    report = LiveReport(tmp_path / "live.html", "a", root=tmp_path / "sweeps")
    report.write()
    assert (report.running, (tmp_path / "live.html").exists()) == (runs, runs)


def test_watching_ends_with_the_sweeps(sweep, tmp_path, monkeypatch, capsys):
    evaluate(sweep, tmp_path, 0.5, 50.0)
    seen = []

    def sleep(seconds):
        seen.append((tmp_path / "live.html").read_text())
        if len(seen) == 1:
            sweep.end("t0000")
            sweep.close()

    monkeypatch.setattr(live, "MIN_PAUSE", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    # The module's own clock: threads of other tests sleep, too.
    monkeypatch.setattr(live, "time", SimpleNamespace(**{**vars(time), "sleep": sleep}))
    assert run(["best", "--compare", "--watch", "-o", "live.html"]) == 0
    assert seen
    assert all(RELOADS in page for page in seen)
    assert RELOADS not in (tmp_path / "live.html").read_text()
    assert "Report: live.html" in capsys.readouterr().err
    assert run(["best", "--compare", "--watch", "nothing"]) == 2
    assert run(["best", "--watch"]) == 2
