"""A sweep's memory on disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep.folder import Kept, SweepFolder, TrialRecord, write_atomically
from gensweep.sweep.storage import delete, fetch, persist

numbers = st.floats(allow_nan=False, allow_infinity=False)
kept = st.builds(
    Kept,
    images=st.integers(0, 10**12),
    place=st.text(),
    value=st.none() | numbers,
    metrics=st.dictionaries(st.text(), numbers),
    identity=st.none() | st.dictionaries(st.text(), st.text() | st.integers()),
)
records = st.builds(
    TrialRecord,
    trial=st.text(),
    number=st.integers(0, 10**6),
    params=st.dictionaries(st.text(), st.text() | st.integers() | numbers | st.booleans()),
    config=st.dictionaries(st.text(), st.text() | st.lists(st.integers())),
    images=st.integers(0, 10**12),
    objective=st.none() | numbers,
    rungs=st.lists(st.tuples(st.integers(0, 10**12), numbers)),
    checkpoints=st.lists(kept, max_size=2),
    best=st.none() | kept,
    error=st.none() | st.text(),
)


@given(records)
def test_a_record_survives_the_disk(record):
    assert TrialRecord.from_json(record.as_json()) == record


def test_records_come_back_by_number(tmp_path):
    folder = SweepFolder(tmp_path, "a")
    folder.create({})
    for number in (10, 2, 0):
        folder.write(TrialRecord(f"t{number:04d}", number, {}, {}))
    assert [r.number for r in folder.records()] == [0, 2, 10]


def test_a_torn_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "t.json"
    write_atomically(file, "old")
    (tmp_path / ".t.json.part").write_text("ne")  # a crash before the rename
    assert file.read_text() == "old"
    write_atomically(file, "new")
    assert file.read_text() == "new"


def test_a_damaged_record_is_named(tmp_path):
    folder = SweepFolder(tmp_path, "a")
    folder.create({})
    (folder.path / "trials" / "t0000.json").write_text("{")
    with pytest.raises(GensweepError, match=r"t0000\.json is damaged"):
        folder.records()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "x" * 101])
def test_names_that_cannot_be_folders_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot name a sweep"):
        SweepFolder(tmp_path, name)


def test_a_sweep_exists_once_its_settings_are_written(tmp_path):
    folder = SweepFolder(tmp_path, "a")
    with folder.locked():
        assert not folder.exists
        folder.create({"trials": 3})
    assert folder.exists
    assert folder.settings == {"trials": 3}


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_checkpoint_comes_back_as_it_was_from_a_folder_and_from_a_url(tmp_path, scheme):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "state").write_bytes(b"\x00\x01")
    (source / "sub" / "more").write_text("text")
    place = persist(source, f"{scheme}{tmp_path}/store/t0000/000000000100")
    local = fetch(place, tmp_path / "copy")
    assert (local / "state").read_bytes() == b"\x00\x01"
    assert (local / "sub" / "more").read_text() == "text"
    assert [p.name for p in (tmp_path / "store" / "t0000").iterdir()] == ["000000000100"]
    delete(place)
    delete(place)
    assert not (tmp_path / "store" / "t0000" / "000000000100").exists()


def test_storing_again_replaces_what_was_there(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "old").write_text("old")
    place = persist(source, str(tmp_path / "store"))
    (source / "old").rename(source / "new")
    persist(source, place)
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["new"]
