"""Whose a place in a storage is."""

from __future__ import annotations

import json
import subprocess
import sys
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


def change(remote, **values):
    record = json.loads(remote.read("owner.json"))
    remote.write("owner.json", json.dumps({**record, **values}).encode())


def elsewhere(remote):
    """The record says that its driver runs on another machine."""
    change(remote, host="far-away", machine="another", process=7)


def test_a_place_that_holds_another_sweep_is_refused_also_when_nobody_runs_it(remote):
    Ownership(remote, "a").release()
    remote.write("sweep.json", b"{}")
    with pytest.raises(ConfigError, match=r"holds another sweep .*--name.*--resume"):
        Ownership(remote, "b")
    assert Owner.of(remote).sweep_id == "a"


def test_a_claim_that_came_to_nothing_does_not_keep_the_place(remote):
    Ownership(remote, "a").release()
    assert Ownership(remote, "b").epoch == 2


def test_a_second_living_driver_is_refused_and_told_who_lives(remote):
    Ownership(remote, "a")
    elsewhere(remote)
    with pytest.raises(
        SweepElsewhereError, match=r"driver on far-away \(process 7\), which renewed its claim \d+ s ago"
    ):
        Ownership(remote, "a")
    assert set(remote.files()) == {"owner.json"}


def test_a_driver_that_was_silent_for_long_is_replaced_and_stops_at_its_next_renewal(remote, monkeypatch):
    first = Ownership(remote, "a")
    first.renew()
    mine = json.loads(remote.read("owner.json"))
    elsewhere(remote)
    monkeypatch.setattr(ownership, "STALE_AFTER", -1.0)
    assert Ownership(remote, "a").epoch == 2
    with pytest.raises(SweepElsewhereError, match="has taken over"):
        first.renew()
    with pytest.raises(SweepElsewhereError, match="has taken over"):
        first.release()
    assert Owner.of(remote).driver != mine["driver"]


def test_a_driver_that_died_on_this_machine_is_replaced_at_once(remote):
    Ownership(remote, "a")
    with pytest.raises(SweepElsewhereError):  # this process lives
        Ownership(remote, "a")
    died = subprocess.Popen([sys.executable, "-c", ""])
    died.wait()
    change(remote, process=died.pid)
    assert Ownership(remote, "a").epoch == 2
