"""The error for a store that cannot be used."""

import os
import subprocess
import sys

import pytest
from mounts import needs_mounts, read_only, run_mounted

from gensweep.errors import GensweepError
from gensweep.tracking.store import check_store

pytestmark = pytest.mark.mlflow

#: Runs the check alone, which is quicker than a command.
CHECK = "from gensweep.tracking.store import check_store; check_store()"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://user:hunter2@127.0.0.1:9", r"http://\*\*\*@127\.0\.0\.1:9 is not reachable \(.*refused\)"),
        ("http://", r"cannot be understood \(it names no host\); correct it"),
        ("htp://server", r"unsupported URI 'htp://server'"),
        ("mssql+pymssql://x/y", r"needs the Python module pymssql, which is missing; install it"),
        ("sqlite:////proc/x.db", r"cannot be used \(unable to open database file\); .*make it and its folder writable"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_in_a_line_with_what_to_do(uri, words, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(GensweepError, match=words) as raised:
        check_store()
    assert "MLFLOW_TRACKING_URI" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_processes_that_meet_a_new_database_do_not_run_into_each_other(tmp_path):
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    started = [
        subprocess.Popen([sys.executable, "-c", CHECK], env=environment, stderr=subprocess.PIPE) for _ in range(2)
    ]
    told = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], told


@needs_mounts
def test_a_store_in_a_read_only_folder_is_told(tmp_path):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": ""}
    found = run_mounted([read_only(tmp_path)], [sys.executable, "-c", CHECK], cwd=tmp_path, env=environment)
    line = found.stderr.splitlines()[-1]
    assert "sqlite:///" in line
    assert "unable to open database file)" in line
    assert "make it and its folder writable" in line
