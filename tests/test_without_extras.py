"""The core needs no package of `gensweep/extras`: a sweep and its verdict in a copy without them."""

import json
import shutil
from pathlib import Path

import pytest
from typed_commands import start

import gensweep

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]

TINY = [
    "search.trials=2",
    "search.sampler.kind=random",
    "resources.concurrent=1",
    "budget={images: 128}",
    "training.batch_size=16",
    "evaluation.samples=16",
    "evaluation.extractor.resolution=32",
]


def test_quickstart_and_its_verdict_run_without_extras(tmp_path, monkeypatch):
    core = tmp_path / "core"
    shutil.copytree(Path(gensweep.__file__).parent, core / "gensweep", ignore=shutil.ignore_patterns("extras"))
    info = core / "gensweep-0.dist-info"  # hides the entry points of the installed package
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gensweep\nVersion: 0\n")
    monkeypatch.setenv("PYTHONPATH", str(core))
    assert "interpret" not in start(tmp_path, "--help").out
    start(tmp_path, "tune", "quickstart", *(f"--set={change}" for change in TINY))
    entries = json.loads(start(tmp_path, "best", "--compare", "--format", "json").out)["entries"]
    assert len(entries) == 2
    assert (tmp_path / "report.html").is_file()
