"""What is said of a store that cannot be used."""

import os
import sqlite3
import sys
from contextlib import closing

import pytest
from mounts import needs_mounts, read_only, run_mounted

from gensweep.errors import GensweepError
from gensweep.tracking import store_check
from gensweep.tracking.store_check import check_server, store_folders

pytestmark = pytest.mark.mlflow

#: Runs the check alone, which is quicker than a command.
CHECK = "from gensweep.tracking.store_check import check_server; check_server()"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1:9", r"http://127\.0\.0\.1:9 does not answer \(.*refused\); start the server"),
        ("http://user:hunter2@127.0.0.1:9", r"http://\*\*\*@127\.0\.0\.1:9 does not answer"),
        ("http://", r"cannot be understood \(it names no host\); correct it"),
        ("http://[::1", r"cannot be understood \(Invalid IPv6 URL\)"),
        ("http://localhost:abc", r"cannot be understood \(Port could not be cast to integer value as 'abc'\)"),
        ("http://localhost:99999", r"cannot be understood \(Port out of range 0-65535\)"),
        ("htp://server", r"has a scheme that MLflow does not know \(known: http, https,"),
        ("/somewhere", r"is a folder, where MLflow keeps no more runs; name a database"),
        ("postgresql+nodriver://x/y", r"names a driver that nobody knows"),
        ("mssql+pymssql://x/y", r"needs the Python package pymssql, which is missing: pip install 'pymssql'"),
        ("sqlite:////proc/x.db", r"cannot be used \(unable to open database file\); make it and its folder writable"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_in_a_line_with_what_to_do(uri, words, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(GensweepError, match=words) as raised:
        check_server()
    assert "MLFLOW_TRACKING_URI" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_driver_of_postgresql_is_named_with_the_package_that_has_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)  # as if it were not installed
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://server/mlflow")
    with pytest.raises(GensweepError, match=r"psycopg2, which is missing: pip install 'psycopg2-binary'"):
        check_server()


def test_a_damaged_database_is_told_with_what_makes_it_anew(tmp_path, monkeypatch):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 1000)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    with pytest.raises(GensweepError, match=r"is damaged \(file is not a database\).*move its file away"):
        check_server()


def test_a_locked_database_is_told_with_what_to_do(store, monkeypatch):
    monkeypatch.setattr(store_check, "LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(store / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(GensweepError, match=r"cannot be used \(database is locked\); end the process that has it"):
            check_server()


@needs_mounts
def test_a_store_in_a_read_only_folder_can_be_read_and_one_that_is_to_be_made_is_told(store, tmp_path):
    command = [sys.executable, "-c", CHECK]
    found = run_mounted([read_only(store)], command, cwd=store)
    assert found.returncode == 0, found.stderr
    missing = run_mounted([read_only(tmp_path)], command, cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": ""})
    line = missing.stderr.splitlines()[-1]
    assert "sqlite:///" in line
    assert "unable to open database file); make it and its folder writable" in line


def test_a_store_that_takes_no_records_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    check_server(writes=True)
    monkeypatch.chdir(tmp_path)
    assert store_folders() == {"MLflow store": tmp_path, "MLflow artifacts": tmp_path / "mlruns"}
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        for what in ("insert", "update"):
            refuse = f"create trigger no_{what} before {what} on experiment_tags begin select raise(abort, 'no'); end"
            database.execute(refuse)
    check_server()
    with pytest.raises(GensweepError, match=r"answers, but takes no records \(.*no.*MLFLOW_TRACKING_URI"):
        check_server(writes=True)


def test_a_server_writes_no_folder_of_this_machine(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert store_folders() == {}
