"""A sweep whose checkpoints and log lie in a bucket, driven by hand: no Ray."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest
from logged import LoggedSweep
from storage_driver import driving

from gensweep.errors import ConfigError, GensweepError
from gensweep.remote_folder import RemoteFolder
from gensweep.sweep import ownership, storage_sync
from gensweep.sweep.checkpoints import checkpoint_place, fetch
from gensweep.sweep.events import Extended, Progressed, Saved, SessionEnded, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.ownership import SweepElsewhereError
from gensweep.sweep.storage import attach, chosen_storage, worker_problem
from gensweep.sweep.stored_copy import stored_log

pytestmark = pytest.mark.waits


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(storage_sync, "PUSH_INTERVAL", 0.2)
    monkeypatch.setattr(storage_sync, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(storage_sync, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def storage(s3):
    """A folder of its own in the bucket."""
    return s3.url(f"sweeps-{uuid4().hex[:6]}")


def eventually(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stored_checkpoints(driver):
    files = RemoteFolder(driver.held.root).files()
    return sorted({"/".join(name.split("/")[1:3]) for name in files if name.startswith("checkpoints/")})


def test_two_sweeps_share_a_bucket_side_by_side(tmp_path, storage):
    with driving(tmp_path / "x", storage, "a") as one, driving(tmp_path / "y", storage, "b") as other:
        for driver, value in ((one, 1.0), (other, 2.0)):
            driver.begin()
            driver.evaluate("t0000", 100, value)
    states = [driver.folder.state().trials["t0000"] for driver in (one, other)]
    places = [state.checkpoint for state in states]
    assert len(set(places)) == 2
    for place, state in zip(places, states, strict=True):
        copy = fetch(place, tmp_path / "cache" / str(state.score.value))
        assert (copy / "state.json").read_text() == "t0000 100"


def test_the_driver_keeps_pictures_and_fetches_no_checkpoint(tmp_path, storage, s3):
    with driving(tmp_path, storage) as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
        assert driver.folder.picture("t0000", 100, "samples").read_bytes() == b"png"
        assert s3.count("GET", "state.json") == 0
        assert not (driver.folder.path / "fetched").exists()


def test_unneeded_checkpoints_leave_the_bucket_after_the_log(tmp_path, storage):
    with driving(tmp_path, storage) as driver:
        driver.begin()
        for images, value in ((100, 5.0), (200, 2.0), (300, 7.0), (400, 6.0)):
            driver.evaluate("t0000", images, value)
        eventually(lambda: len(stored_checkpoints(driver)) == 3)
        driver.session.ended("t0000", {"finished": True})
    assert stored_checkpoints(driver) == ["t0000/000000000200"]


def test_checkpoints_are_deleted_only_after_their_event_is_stored(tmp_path, storage, s3):
    with driving(tmp_path, storage) as driver:
        driver.begin()
        for images, value in ((100, 4.0), (200, 3.0)):
            driver.evaluate("t0000", images, value)
        known = stored_log(RemoteFolder(driver.held.root))
        refused = []
        push = driver.held.sync._copy.push

        def refuse():
            refused.append(True)
            raise OSError("the bucket takes no log")

        driver.held.sync._copy.push = refuse
        for images, value in ((300, 2.0), (400, 1.0)):
            driver.evaluate("t0000", images, value)
        count = len(refused)
        eventually(lambda: len(refused) > count + 2)
        assert len(stored_checkpoints(driver)) == 4
        assert stored_log(RemoteFolder(driver.held.root)).startswith(known)
        driver.held.sync._copy.push = push
    assert stored_checkpoints(driver) == ["t0000/000000000300", "t0000/000000000400"]


def test_a_bucket_that_is_away_is_said_once_and_gets_all_when_it_is_back(tmp_path, storage, s3, caplog):
    with driving(tmp_path, storage) as driver:
        driver.begin()
        eventually(lambda: driver.held.sync._copy.behind == 0)
        driver.held.sync._copy._remote._patience = 0
        s3.trouble = "503"
        for images in range(100, 600, 100):
            driver.session.reported(Progressed("t0000", images, {"loss": 1.0}))
        driver.session.ended("t0000", {"failure": "ValueError: no"})
        eventually(lambda: "is not reachable; copying waits" in caplog.text)
        assert driver.held.sync._copy.behind > 0
        s3.trouble = None
        eventually(lambda: driver.held.sync._copy.behind == 0)
    assert [record.message.split(";")[0] for record in caplog.records if "storage of a" in record.message] == [
        "the storage of a is not reachable",
        "the storage of a is reachable again",
    ]
    assert stored_log(RemoteFolder(driver.held.root)) == driver.folder.log.file.read_bytes()


def crashed(tmp_path, storage, monkeypatch):
    """A driver that stores two checkpoints and dies; its record stays as if it were on another machine."""
    with driving(tmp_path / "here", storage) as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
        driver.evaluate("t0000", 200, 2.0)
        eventually(lambda: driver.held.sync._copy.behind == 0)
        monkeypatch.setattr(driver.held.sync._ownership, "renew", lambda **_: None)
    record = json.loads(RemoteFolder(driver.held.root).read("owner.json"))
    record |= {"host": "far-away", "folder": "another"}
    RemoteFolder(driver.held.root).write("owner.json", json.dumps(record).encode())
    return driver


def test_another_machine_resumes_from_the_url_of_a_lost_driver(tmp_path, storage, monkeypatch):
    lost = crashed(tmp_path, storage, monkeypatch)
    shutil.rmtree(tmp_path / "here")
    there = tmp_path / "there"
    assert attach(there, lost.held.root) == ("a", storage)
    with pytest.raises(SweepElsewhereError, match="far-away"), driving(there, storage):
        pass
    monkeypatch.setattr(ownership, "STALE_AFTER", -1.0)
    assert attach(there, lost.held.root) == ("a", storage)
    with driving(there, storage) as driver:
        trial = driver.begin()
        assert trial.trial == "t0000"
        places = [checkpoint_place(driver.held.root, name) for name in driver.session.checkpoints_of("t0000")]
        copies = [fetch(place, tmp_path / str(number)) for number, place in enumerate(places)]
        assert [(copy / "state.json").read_text() for copy in copies] == ["t0000 200", "t0000 100"]
        driver.evaluate("t0000", 300, 0.5)
        driver.session.ended("t0000", {"finished": True})
        driver.session.note(SessionEnded("finished"))
    kept = [driver.folder.pictures("t0000", images) for images in (100, 200, 300)]
    assert [file.read_bytes() for files in kept for file in files] == [b"png"] * 3
    assert driver.folder.settings["sweep"] == {"name": "a"}
    assert stored_log(RemoteFolder(driver.held.root)) == driver.folder.log.file.read_bytes()
    assert driver.folder.state().trials["t0000"].score.value == 0.5


@pytest.mark.parametrize("name", ["pictures/../../../evil.py", "logs//evil.py", "plugins/x/../../../../evil.py"])
def test_an_object_name_writes_nothing_outside_of_the_sweep(tmp_path, storage, s3, name):
    with driving(tmp_path / "here", storage) as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
    s3.put(driver.held.root, name, b"print('evil')")
    project = tmp_path / "project"
    with pytest.raises(GensweepError, match=r"^s3://.* names a file '.*evil\.py'.*; nothing was written$") as refused:
        attach(project / "sweeps", driver.held.root)
    assert name.partition("/")[2] in str(refused.value)
    assert not project.exists()
    with pytest.raises(GensweepError, match=r"evil\.py"), driving(tmp_path / "here", storage):
        pass
    assert list(tmp_path.rglob("evil.py")) == []


@pytest.mark.parametrize("place", ["s3", "folder"])
@pytest.mark.parametrize(
    ("event", "name"),
    [
        (Saved("t0000", 50, "../../../mine/000000000100"), "../../../mine/000000000100"),
        (Started("../../evil"), "../../evil"),
    ],
)
def test_a_log_writes_and_deletes_nothing_outside_of_the_sweep(tmp_path, storage, place, event, name):
    storage = {"s3": storage, "folder": str(tmp_path / "storage")}[place]
    mine = tmp_path / "mine" / "000000000100"
    mine.mkdir(parents=True)
    with driving(tmp_path / "here", storage) as driver:
        driver.begin()
        driver.folder.log.append(event)
    attach(tmp_path / "project", driver.held.root)
    with pytest.raises(GensweepError, match=rf"{re.escape(name)}' cannot name a (trial|checkpoint)"):
        SweepFolder(tmp_path / "project", "a").state()
    assert mine.is_dir()


def test_a_damaged_log_comes_back_from_the_storage(tmp_path, storage):
    with driving(tmp_path, storage) as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
    log = driver.folder.log.file
    content = log.read_bytes()
    log.write_bytes(content.replace(b'"suggested"', b'"suggestad"', 1))
    with pytest.raises(GensweepError) as refused:
        SweepFolder(tmp_path, "a").state()
    assert f"move events.jsonl away, then run: gensweep tune --resume '{driver.held.root}'" in str(refused.value)
    assert "delete" not in str(refused.value)
    log.rename(tmp_path / "damaged.jsonl")
    attach(tmp_path, driver.held.root)
    assert log.read_bytes() == content


def test_a_lost_configuration_is_restored_and_the_log_kept(tmp_path, storage):
    with driving(tmp_path, storage) as driver:
        driver.begin()
    driver.folder.log.append(Extended(9))
    content = driver.folder.log.file.read_bytes()
    (driver.folder.path / "sweep.json").unlink()
    attach(tmp_path, driver.held.root)
    assert driver.folder.log.file.read_bytes() == content
    assert driver.folder.root == driver.held.root


def test_a_driver_that_was_taken_over_stops_its_sweep(tmp_path, storage, monkeypatch):
    monkeypatch.setattr(storage_sync, "RENEWAL_INTERVAL", 0.0)
    with driving(tmp_path / "here", storage) as driver:
        driver.begin()
        remote = RemoteFolder(driver.held.root)
        thief = json.dumps({**json.loads(remote.read("owner.json")), "driver": "another", "host": "thief"}).encode()

        def taken():
            remote.write("owner.json", thief)  # again, as a renewal may just be on its way
            return driver.session.problem is not None

        eventually(taken)
        with pytest.raises(SweepElsewhereError, match=r"a driver on thief .* has taken over"):
            raise driver.session.problem
    assert remote.read("owner.json") == thief


def test_a_folder_of_another_sweep_is_not_taken_for_the_one_in_the_bucket(tmp_path, storage):
    with driving(tmp_path / "here", storage) as driver:
        pass
    LoggedSweep(tmp_path / "there", "a")
    with pytest.raises(ConfigError, match="belongs to another sweep"):
        attach(tmp_path / "there", driver.held.root)
    with pytest.raises(ConfigError, match="contains no sweep"):
        attach(tmp_path / "there", storage)


@pytest.mark.parametrize("moment", ["a picture", "the log", "sweep.json"])
def test_an_interrupted_start_from_the_url_can_be_repeated(tmp_path, storage, monkeypatch, moment):
    with driving(tmp_path / "here", storage) as driver:
        driver.begin()
        for images in (100, 200):
            driver.evaluate("t0000", images, 1.0)
    there, sent = tmp_path / "there", []

    def interrupted(*arguments):
        sent.append(arguments)
        if moment != "a picture" or len(sent) == 2:
            raise KeyboardInterrupt
        return download(*arguments)

    download = RemoteFolder.download
    step = {
        "a picture": "gensweep.sweep.storage.RemoteFolder.download",
        "the log": "gensweep.sweep.storage.write_bytes",
        "sweep.json": "gensweep.sweep.folder.SweepFolder.create",
    }[moment]
    with monkeypatch.context() as patch:
        patch.setattr(step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            attach(there, driver.held.root)
    assert_begun(there, driver, storage)


def assert_begun(root, driver, storage):
    """The same command begins the folder of the driver's sweep below `root`."""
    assert attach(root, driver.held.root) == ("a", storage)
    folder = SweepFolder(root, "a")
    folder.check_log()
    assert folder.settings["storage"] == storage
    assert folder.log.file.read_bytes() == driver.folder.log.file.read_bytes()
    assert [file.read_bytes() for images in (100, 200) for file in folder.pictures("t0000", images)] == [b"png"] * 2


def test_a_new_storage_is_accepted_only_if_it_holds_the_sweep(tmp_path, storage, s3):
    folder = SweepFolder(tmp_path, "a")
    assert chosen_storage(folder, storage) == storage
    with driving(tmp_path, storage) as driver:
        other = s3.url(f"other-{uuid4().hex[:6]}")
        assert chosen_storage(folder, other) == other  # it has no checkpoints as yet
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
    assert chosen_storage(folder, None) == storage
    assert chosen_storage(folder, storage) == storage
    with pytest.raises(
        ConfigError, match="does not contain the checkpoints of sweep 'a'; omit --storage, or first copy all of"
    ):
        chosen_storage(folder, other)
    source, target = (RemoteFolder(folder.root_in(each)) for each in (storage, other))
    for name in source.files():
        target.write(name, source.read(name))
    source.delete_all()
    with driving(tmp_path, other) as moved:
        moved.begin()
        place = checkpoint_place(moved.held.root, *moved.session.checkpoints_of("t0000"))
        assert place.startswith(moved.held.root.partition("?")[0])
        assert (fetch(place, tmp_path / "cache") / "state.json").read_text() == "t0000 100"
    assert chosen_storage(folder, None) == other


def test_a_storage_folder_that_was_moved_is_not_begun_anew(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with driving(tmp_path, "store") as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
    folder, store = driver.folder, tmp_path / "here" / "store"
    monkeypatch.chdir(tmp_path / "there")
    assert chosen_storage(folder, None) == str(store)
    store.rename(tmp_path / "there" / "store")
    with pytest.raises(ConfigError, match=r"if you moved them, run: .* --storage FOLDER"):
        chosen_storage(folder, None)
    assert not store.exists()
    with driving(tmp_path, "store") as driver:
        assert Path(checkpoint_place(folder.root, *driver.session.checkpoints_of("t0000"))).is_dir()
    assert chosen_storage(folder, None) == str(tmp_path / "there" / "store")


def test_a_storage_that_cannot_be_written_is_told_before_anything_begins(tmp_path, s3):
    missing = s3.url("x").replace("bucket", "no-such-bucket", 1)
    with pytest.raises(GensweepError, match=r"cannot be used from .*NO_SUCH_BUCKET"), driving(tmp_path, missing):
        pass
    assert not SweepFolder(tmp_path, "a").exists
    assert "NO_SUCH_BUCKET" in worker_problem(missing, own=False)


def test_a_worker_without_the_sweep_folder_reports_what_to_set(tmp_path):
    sweep = LoggedSweep(tmp_path)
    assert worker_problem(str(sweep.folder.path), own=True) is None
    problem = worker_problem(str(tmp_path / "elsewhere"), own=True)
    assert "--storage s3://BUCKET/sweeps" in problem


def test_a_shared_folder_is_a_storage_too(tmp_path):
    shared = tmp_path / "shared"
    with driving(tmp_path / "here", str(shared)) as driver:
        driver.begin()
        driver.evaluate("t0000", 100, 1.0)
    assert Path(checkpoint_place(driver.held.root, "t0000/000000000100")) == shared / "a/checkpoints/t0000/000000000100"
    assert attach(tmp_path / "there", str(shared / "a")) == ("a", str(shared))
    with driving(tmp_path / "there", str(shared)) as driver:
        assert driver.begin().trial == "t0000"
