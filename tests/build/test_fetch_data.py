"""Data sets that a machine lacks."""

from __future__ import annotations

import pytest
from untrained import config

from gensweep.build import parts
from gensweep.build.parts import fetch_data
from gensweep.run.planning import relative_paths


def test_a_worker_fetches_the_data_set_and_passes_on_what_is_said(monkeypatch, tmp_path):
    calls = []

    def fetch(root, *, source=None, report=lambda line: None):
        calls.append(root)
        report("cifar10 came from somewhere")

    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path))
    monkeypatch.setattr(parts, "FETCHERS", {"cifar10": fetch})
    lines = []
    trial = config("diffusion")
    fetch_data(trial, lines.append)
    assert (calls, lines) == ([], [])  # digits need no fetching
    fetch_data(trial.with_overrides({"data": {"kind": "cifar10"}}), lines.append)
    assert (calls, lines) == ([tmp_path], ["cifar10 came from somewhere"])


def test_folders_at_a_url_are_fetched_also_those_to_compare_with(monkeypatch):
    fetched = []
    monkeypatch.setattr(parts, "local_copy", lambda url, root, report: fetched.append(url))
    data = {"kind": "image_folder", "path": "s3://bucket/pictures?region=x", "size": 8, "channels": 1}
    trial = config("diffusion").with_overrides({"data": data, "evaluation.against": "s3://bucket/real/"})
    fetch_data(trial, lambda line: None)
    assert fetched == ["s3://bucket/pictures?region=x", "s3://bucket/real/"]


@pytest.mark.parametrize(
    ("path", "against", "expected"),
    [
        ("pictures", "train", ["data.path: pictures"]),
        ("/data/pictures", "real/", ["evaluation.against: real/"]),
        ("~/pictures", "fid.npz", ["evaluation.against: fid.npz"]),
        ("s3://bucket/pictures", "test", []),
    ],
)
def test_paths_that_depend_on_the_current_folder_are_told(path, against, expected):
    data = {"kind": "image_folder", "path": path, "size": 8, "channels": 1}
    trial = config("diffusion").with_overrides({"data": data, "evaluation.against": against})
    assert relative_paths(trial) == expected
