"""What `gensweep doctor` says of versions, store and disk."""

import sqlite3
from contextlib import closing

import pytest

from gensweep.cli.doctor import _disk, _examine, _store, _versions
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


def found_versions():
    return {finding.check: (finding.status, finding.detail) for finding in _versions()}


def test_the_doctor_names_the_tested_versions(install):
    install("ray", "2.58.0")
    assert found_versions()["ray"] == ("ok", "2.58.0 (tested: 2.57 and 2.60.0)")


@pytest.mark.parametrize("version", ["2.99.0", "2.61.0.dev0", "2.56.9"])
def test_a_version_outside_the_supported_range_fails(install, version):
    install("ray", version)
    status, detail = found_versions()["ray"]
    assert status == "fail"
    assert f"{version} is not in the range" in detail
    assert "pip install 'ray[train,tune]>=2.57,<2.61'" in detail


def test_a_sweep_notes_a_version_outside_the_supported_range(install, tmp_path, capsys):
    install("mlflow", "9.0")
    too_many = "resources.cpus_per_worker=9999"  # so nothing starts
    assert run(["tune", "quickstart", "--set", too_many, "--sweeps", str(tmp_path)]) != 0
    assert "Note: mlflow 9.0 is not in the range that gensweep supports (>=3.17,<4)" in capsys.readouterr().err


@pytest.mark.mlflow
def test_a_store_that_takes_no_records_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert [finding.status for finding in _examine(_store)] == ["ok"]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        for what in ("insert", "update"):
            refuse = f"create trigger no_{what} before {what} on experiment_tags begin select raise(abort, 'no'); end"
            database.execute(refuse)
    (found,) = _examine(_store)
    assert found.status == "fail"
    assert "answers, but takes no records" in found.detail


def test_a_folder_in_which_nothing_can_be_written_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [finding.check for finding in _disk()] == ["disk"]
    monkeypatch.chdir("/proc")
    assert ("folder", "fail") in [(finding.check, finding.status) for finding in _disk()]
