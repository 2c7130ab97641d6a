"""What `gensweep doctor` reports about versions, the store and the disk."""

import json
import sqlite3
from contextlib import closing

import pytest

from gensweep.cli.main import run


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Let a package look installed in another version, by a folder of metadata that Python finds first."""

    def install(name, version):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")

    monkeypatch.syspath_prepend(tmp_path)
    return install


@pytest.fixture
def examine(monkeypatch, capsys):
    """Run the command; returns status and detail by check.  MLflow is away unless a test says otherwise."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    def examine():
        run(["doctor", "--format", "json"])
        return {row["check"]: (row["status"], row["detail"]) for row in json.loads(capsys.readouterr().out)}

    return examine


@pytest.mark.parametrize(("version", "status"), [("2.58.0", "ok"), ("2.61.0.dev0", "fail"), ("2.56.9", "fail")])
def test_versions_outside_the_supported_range_fail(install, examine, version, status):
    install("ray", version)
    found, detail = examine()["ray"]
    assert (found, "pip install 'ray[train,tune]>=" in detail) == (status, status == "fail")


def test_a_sweep_notes_a_version_outside_the_supported_range(install, tmp_path, capsys):
    install("mlflow", "9.0")
    too_many = "resources.cpus_per_worker=9999"  # so nothing starts
    assert run(["tune", "quickstart", "--set", too_many, "--sweeps", str(tmp_path)]) != 0
    assert "Note: mlflow 9.0 is not supported" in capsys.readouterr().err


@pytest.mark.mlflow
def test_a_store_that_takes_no_records_fails(tmp_path, monkeypatch, examine):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert examine()["mlflow store"][0] == "ok"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        for what in ("insert", "update"):
            refuse = f"create trigger no_{what} before {what} on experiment_tags begin select raise(abort, 'no'); end"
            database.execute(refuse)
    status, detail = examine()["store"]
    assert (status, "is reachable, but not writable" in detail) == ("fail", True)


def test_a_folder_where_nothing_can_be_written_fails(monkeypatch, examine):
    monkeypatch.chdir("/proc")
    assert examine()["folder"][0] == "fail"
