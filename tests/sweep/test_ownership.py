"""Whose a place in a storage is."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from gensweep.errors import ConfigError
from gensweep.remote_folder import RemoteFolder
from gensweep.sweep import ownership
from gensweep.sweep.ownership import Owner, Ownership, SweepElsewhereError


@pytest.fixture(params=["path", "s3"])
def remote(request, tmp_path, s3):
    name = uuid4().hex[:6]
    return RemoteFolder(str(tmp_path / name) if request.param == "path" else s3.url(name))


def claim(remote, sweep_id="a", folder="a/folder"):
    return Ownership(remote, sweep_id, Path(folder))


def change(remote, **values):
    record = json.loads(remote.read("owner.json"))
    remote.write("owner.json", json.dumps({**record, **values}).encode())


def elsewhere(remote):
    """The record says that its driver runs on another machine."""
    change(remote, host="far-away", folder="another", process=7)


def test_a_storage_that_holds_another_sweep_is_refused(remote):
    claim(remote).renew(release=True)
    remote.write("sweep.json", b"{}")
    with pytest.raises(ConfigError, match=r"contains another sweep .*--name.*--resume"):
        claim(remote, "b")
    assert Owner.of(remote).sweep_id == "a"


def test_a_claim_that_came_to_nothing_does_not_keep_the_place(remote):
    claim(remote).renew(release=True)
    assert claim(remote, "b").owner.epoch == 2


def test_a_second_living_driver_is_refused_and_told_who_lives(remote):
    claim(remote)
    elsewhere(remote)
    with pytest.raises(
        SweepElsewhereError, match=r"driver on far-away \(process 7\), which renewed its claim \d+ s ago"
    ):
        claim(remote)
    assert set(remote.files()) == {"owner.json"}


def test_a_silent_driver_is_replaced_and_stops_at_renewal(remote, monkeypatch):
    first = claim(remote)
    first.renew()
    mine = json.loads(remote.read("owner.json"))
    elsewhere(remote)
    monkeypatch.setattr(ownership, "STALE_AFTER", -1.0)
    assert claim(remote).owner.epoch == 2
    with pytest.raises(SweepElsewhereError, match="has taken over"):
        first.renew()
    with pytest.raises(SweepElsewhereError, match="has taken over"):
        first.renew(release=True)
    assert Owner.of(remote).driver != mine["driver"]


def test_a_driver_that_died_in_the_same_folder_is_replaced_at_once(remote):
    claim(remote)
    assert claim(remote).owner.epoch == 2
    with pytest.raises(SweepElsewhereError):
        claim(remote, folder="another/folder")
