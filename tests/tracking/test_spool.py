import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.tracking.spool import Spool, SpoolInUseError

records = st.dictionaries(
    st.text(max_size=8), st.one_of(st.integers(), st.text(), st.floats(allow_nan=False, allow_infinity=False))
)


def drained(spool, limit=500):
    found = []
    while pending := spool.pending(limit):
        found += [item.record for item in pending]
        spool.commit(pending[-1].end)
    return found


@settings(deadline=None, max_examples=40)
@given(st.lists(records, max_size=20), st.integers(1, 7))
def test_what_goes_in_comes_out_once_in_order(tmp_path_factory, items, limit):
    spool = Spool(tmp_path_factory.mktemp("spool"))
    for item in items:
        spool.append(item)
    assert spool.remaining() == len(items)
    assert drained(spool, limit) == items
    assert spool.remaining() == 0
    spool.close()


@settings(deadline=None, max_examples=40)
@given(st.lists(records, min_size=1, max_size=6), st.data())
def test_a_crash_anywhere_in_the_last_write_loses_only_that_record(tmp_path_factory, items, data):
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder)
    for item in items:
        spool.append(item)
    spool.close()
    file = folder / "records.jsonl"
    content = file.read_bytes()
    last = len(json.dumps(items[-1], separators=(",", ":")).encode()) + 1
    file.write_bytes(content[: len(content) - data.draw(st.integers(1, last))])
    again = Spool(folder)
    again.append({"new": 1})
    assert drained(again) == [*items[:-1], {"new": 1}]
    again.close()


def test_records_that_arrived_are_not_sent_again_after_a_restart(tmp_path):
    spool = Spool(tmp_path)
    for number in range(5):
        spool.append({"n": number})
    spool.commit(spool.pending(3)[-1].end)
    spool.close()
    again = Spool(tmp_path)
    assert [record["n"] for record in drained(again)] == [3, 4]
    again.close()


def test_a_damaged_line_is_passed_over(tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b'{"n":1}\n\x00\xff garbage\n{"n":2}\n')
    spool = Spool(tmp_path)
    assert drained(spool) == [{"n": 1}, None, {"n": 2}]
    spool.close()


def test_an_empty_spool_leaves_nothing_behind(tmp_path):
    spool = Spool(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"x")
    spool.append({"file": spool.keep(tmp_path / "picture.png", "a.png")})
    drained(spool)
    spool.close()
    assert not (tmp_path / "records.jsonl").exists()
    assert not (tmp_path / "files").exists()


def test_a_spool_has_one_owner(tmp_path):
    spool = Spool(tmp_path)
    with pytest.raises(SpoolInUseError):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_threads_never_mix_their_lines(tmp_path):
    spool = Spool(tmp_path)

    def write(name):
        for number in range(200):
            spool.append({"name": name, "n": number})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = drained(spool)
    assert all([r["n"] for r in found if r["name"] == name] == list(range(200)) for name in "abc")
    spool.close()
