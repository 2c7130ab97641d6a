"""What `gensweep doctor` says of store, disk and the fastest precision; the rest is in test_docs and test_selftest."""

import sqlite3
from contextlib import closing

import pytest

from gensweep.cli.doctor import _disk, _examine, _precision, _store


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


@pytest.mark.trains
def test_the_doctor_says_in_which_precision_a_network_trains_and_draws():
    training, sampling = _precision()
    assert training.status == sampling.status == "ok"
    assert training.detail.startswith("a U-Net trains in ")
    assert training.detail.count("channels_last") == training.detail.count("contiguous") == 2
    assert sampling.detail.startswith("a U-Net draws samples in ")
