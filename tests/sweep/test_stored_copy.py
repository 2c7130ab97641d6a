"""The copy of a sweep's log in a storage."""

from __future__ import annotations

from uuid import uuid4

import pytest
from logged import LoggedSweep, evaluation

from gensweep.errors import ConfigError
from gensweep.remote_folder import RemoteFolder
from gensweep.results import Outcome, SamplingConfig
from gensweep.sweep import stored_copy
from gensweep.sweep.events import ScoredAgain
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.stored_copy import StoredCopy, reconcile, stored_log


@pytest.fixture(params=["path", "s3"])
def remote(request, tmp_path, s3):
    name = uuid4().hex[:6]
    return RemoteFolder(str(tmp_path / name) if request.param == "path" else s3.url(name))


@pytest.fixture
def sweep(tmp_path):
    made = LoggedSweep(tmp_path / "here")
    made.start("t0000")
    return made


def log_of(folder):
    return folder.log.file.read_bytes()


def elsewhere(tmp_path, remote):
    """The folder of the same sweep on another machine, made from the storage."""
    folder = SweepFolder(tmp_path / "there", "a")
    folder.create({"sweep": {}})
    assert reconcile(folder, remote)[1] is None
    return folder


@pytest.mark.parametrize("size", [1, 700, 10**6])
def test_the_segments_make_up_the_log(tmp_path, sweep, remote, monkeypatch, size):
    monkeypatch.setattr(stored_copy, "SEGMENT_BYTES", size)
    copy = StoredCopy(sweep.folder, remote, 1, 0)
    for images in range(100, 600, 100):
        sweep.evaluate("t0000", images, 1.0)
        copy.push()
        assert stored_log(remote) == log_of(sweep.folder)
        assert copy.behind == 0
    assert log_of(elsewhere(tmp_path, remote)) == log_of(sweep.folder)
    assert len(remote.files()) == {1: 9, 700: len(remote.files()), 10**6: 1}[size]


def test_a_segment_that_a_crash_has_left_half_written_does_not_count(sweep, remote):
    StoredCopy(sweep.folder, remote, 1, 0).push()
    remote.write("log/.000001-000000000000000.jsonl.1a2b3c4d", b"half")
    assert stored_log(remote) == log_of(sweep.folder)
    assert not [name for name in remote.files() if name.startswith("log/.")]


def test_a_torn_line_is_not_stored(sweep, remote):
    whole = log_of(sweep.folder)
    with sweep.folder.log.file.open("ab") as file:
        file.write(b'{"v": 1, "ti')
    StoredCopy(sweep.folder, remote, 1, 0).push()
    assert stored_log(remote) == whole


def test_a_shorter_log_is_completed_and_a_longer_one_goes_on(tmp_path, sweep, remote):
    StoredCopy(sweep.folder, remote, 1, 0).push()
    there = elsewhere(tmp_path, remote)
    stored = len(log_of(there))
    sweep.evaluate("t0000", 100, 1.0)
    assert reconcile(sweep.folder, remote) == (stored, None)
    StoredCopy(sweep.folder, remote, 2, stored).push()
    assert reconcile(there, remote) == (len(log_of(sweep.folder)), None)
    assert log_of(there) == log_of(sweep.folder)


def test_what_a_driver_wrote_after_it_was_taken_to_be_lost_does_not_count(tmp_path, sweep, remote):
    zombie = StoredCopy(sweep.folder, remote, 1, 0)
    zombie.push()
    there = elsewhere(tmp_path, remote)
    later = StoredCopy(there, remote, 2, len(log_of(there)))
    there.log.append(next(iter(sweep.folder.log.read())).event)
    later.push()
    sweep.evaluate("t0000", 100, 1.0)
    sweep.evaluate("t0000", 200, 1.0)
    zombie.push()
    assert stored_log(remote) == log_of(there)


def test_an_overtaken_log_gives_way_and_its_later_scores_stay(tmp_path, sweep, remote):
    StoredCopy(sweep.folder, remote, 1, 0).push()
    there = elsewhere(tmp_path, remote)
    there.log.append(next(iter(sweep.folder.log.read())).event)
    StoredCopy(there, remote, 2, len(stored_log(remote))).push()
    score = evaluation(100, 1.0).scores["fd"]
    outcome = Outcome(SamplingConfig("ddpm", 10, None, "ema"), 8, 1, {"fd": score}, 1.0, 1.0, "cpu", "c" * 64, 5.0)
    sweep.add(ScoredAgain("t0000", outcome, 100))
    own = log_of(sweep.folder)
    position, said = reconcile(sweep.folder, remote)
    assert "another driver has continued a" in said
    assert log_of(sweep.folder)[:position] == stored_log(remote)
    assert sweep.folder.state().trials["t0000"].outcomes == [outcome]
    (aside,) = sweep.folder.path.glob("events.jsonl.overtaken-*")
    assert aside.read_bytes() == own
    assert reconcile(sweep.folder, remote) == (position, None)


def test_another_sweep_is_not_mixed_in(tmp_path, sweep, remote):
    StoredCopy(sweep.folder, remote, 1, 0).push()
    other = LoggedSweep(tmp_path / "other")
    before = log_of(other.folder)
    with pytest.raises(ConfigError, match="different sweeps"):
        reconcile(other.folder, remote)
    assert log_of(other.folder) == before
