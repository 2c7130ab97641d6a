"""The log: what is in it is whole, and a crash at any byte leaves the state before or the state after."""

from __future__ import annotations

import errno
import json
import multiprocessing

import pytest
from logged import LoggedSweep, evaluation

from gensweep.errors import GensweepError
from gensweep.results import Outcome, SamplingConfig
from gensweep.sweep.events import (
    EVENTS,
    Entered,
    Evaluated,
    Exhausted,
    Extended,
    Lost,
    Noted,
    Paced,
    Paused,
    Progressed,
    RepeatsAsked,
    Resumed,
    Retried,
    Saved,
    Scaled,
    ScoredAgain,
    Started,
    Stopping,
    Suggested,
    WarmStarted,
    from_record,
    to_record,
)
from gensweep.sweep.log import EventLog
from gensweep.sweep.state import SweepState


def checkpoint(root):
    (root / "c").mkdir(exist_ok=True)
    (root / "c" / "state").touch()
    return root / "c"


def history(root):
    further, limit = {"metric": "params", "mode": "min"}, {"metric": "flops", "min": None, "max": 2.0}
    sweep = LoggedSweep(root, trials=2, further=[further], constraints=[limit])
    for trial in ("t0000", "t0001"):
        sweep.start(trial, {"x": 1.5}, {"training": {"images": 200}})
        sweep.progress(trial, 50, loss=0.25)
        sweep.evaluate(trial, 100, 5.0, checkpoint(root), corrected=4.0, error=0.5, diversity=0.7)
        sweep.end(trial)
        sampling = SamplingConfig("heun", 10, 1.5, "ema@0.25", 19, (("spacing", "log_snr"), ("churn", 0.0)))
        scores = evaluation(100, 5.0, corrected=4.0, error=0.5).scores
        sweep.add(
            ScoredAgain(trial, Outcome(sampling, 8, 1, scores, 0.5, 0.25, "cpu", "ab12", 1.5, as_trained=True), 100)
        )
    sweep.add(Paced("t0001", 200, 12.5))
    sweep.add(Noted("t0001", "fetching 6 files"))
    sweep.add(Entered("t0001", "computing reference statistics"))
    sweep.add(Retried("t0001", {"training": {"images": 200}}))
    sweep.add(Saved("t0001", 150, "t0001/000000000150"))
    sweep.add(Paused("t0001"))
    sweep.add(Resumed("t0001"))
    sweep.add(Lost("t0001", "worker lost", log="t0001.log"))
    sweep.add(Scaled(2, 1, 2, "1 GPU"))
    sweep.add(Exhausted(2))
    sweep.add(RepeatsAsked(2, 3))
    sweep.add(Stopping(["t0001"]))
    sweep.add(WarmStarted(str(root / "other"), [{"x": 1.0}]))
    sweep.add(Suggested("t0002", 2, {"x": 1.0}, {"x": 1.0}, {}, known={"flops": 3.0}))
    sweep.end("t0002", "infeasible", "flops 3 is more than 2")
    sweep.close()
    return sweep.folder.log


def test_every_event_comes_back_as_it_was(tmp_path):
    log = history(tmp_path)
    events = [entry.event for entry in log.read()]
    assert {type(event) for event in events} >= set(EVENTS.values()) - {Extended}
    for event in events:
        assert from_record(json.loads(json.dumps(to_record(event)))) == event
    assert [entry.end for entry in log.read()][-1] == log.size


def test_a_log_that_is_cut_at_any_byte_holds_the_events_before(tmp_path):
    log = history(tmp_path / "whole")
    content, ends = log.file.read_bytes(), [0, *(entry.end for entry in log.read())]
    cut = EventLog(tmp_path / "cut" / "events.jsonl")
    cut.file.parent.mkdir()
    for size in range(0, len(content) + 1, 7):
        cut.file.write_bytes(content[:size])
        whole = sum(end <= size for end in ends) - 1
        assert len(list(cut.read())) == whole
        cut.append(Extended(9))  # the torn line is taken away first
        assert [entry.event for entry in cut.read()][whole:] == [Extended(9)]


def test_reading_goes_on_where_it_stopped(tmp_path):
    log = history(tmp_path)
    entries = list(log.read())
    assert list(log.read(entries[3].end)) == entries[4:]


def test_a_damaged_line_is_named_and_not_passed_over(tmp_path):
    log = history(tmp_path)
    lines = log.file.read_bytes().splitlines(keepends=True)
    log.file.write_bytes(b"".join([*lines[:2], lines[2][:9] + b"\x00\xff" + lines[2][11:], *lines[3:]]))
    with pytest.raises(GensweepError, match=rf"events.jsonl is damaged at byte {len(lines[0]) + len(lines[1])}"):
        list(log.read())


def test_a_number_that_a_disk_has_changed_is_not_taken_for_a_score(tmp_path):
    log = history(tmp_path)
    content = log.file.read_bytes()
    assert b'"corrected":4.0' in content
    for changed in (
        content.replace(b'"corrected":4.0', b'"corrected":3.0', 1),
        content.replace(b',"crc32":', b',"crc31":', 1),
    ):
        log.file.write_bytes(changed)
        with pytest.raises(GensweepError, match="its checksum does not match"):
            list(log.read())


@pytest.mark.parametrize("version", [2, 5])
def test_a_log_of_another_version_is_refused(tmp_path, version):
    log = EventLog(tmp_path / "events.jsonl")
    log.append(Started("t0000"))
    with log.file.open("a") as file:
        file.write(f'{{"v":{version},"time":1,"event":"started","trial":"t0000"}}\n')
    with pytest.raises(GensweepError, match=f"another version of gensweep .log version {version}"):
        list(log.read())


def _append(file, worker):
    log = EventLog(file)
    for number in range(50):
        log.append(Progressed(f"w{worker}", number, {"loss": 1.0}))


def test_processes_that_append_at_once_tear_nothing(tmp_path):
    file = tmp_path / "events.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(file, worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seen = [(entry.event.trial, entry.event.images) for entry in EventLog(file).read()]
    assert sorted(seen) == sorted((f"w{worker}", number) for worker in range(4) for number in range(50))


def test_a_full_disk_is_told_and_the_log_is_as_before(tmp_path, monkeypatch):
    log = history(tmp_path)
    before = log.file.read_bytes()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(GensweepError, match=r"cannot be written \(No space left\).*gensweep tune --resume a"):
        log.append(Evaluated("t0000", evaluation(200, 1.0), None))
    assert log.file.read_bytes() == before


def test_a_fingerprint_identifies_the_record_that_ends_there(tmp_path):
    log, other = EventLog(tmp_path / "a.jsonl"), EventLog(tmp_path / "b.jsonl")
    ends = [log.append(Progressed("t0000", images, {"loss": 1.0})).end for images in (10, 20, 30)]
    for loss in range(2, 99):  # until its checksum has as many digits
        other.file.write_bytes(log.file.read_bytes()[: ends[0]])
        if other.append(Progressed("t0000", 20, {"loss": float(f"{loss % 9}.{loss % 7}")})).end == ends[1]:
            break
    marks = {end: log.fingerprint(end) for end in range(ends[2] + 100)}
    assert [end for end, mark in marks.items() if mark is not None] == [0, *ends]
    assert [other.fingerprint(end) == marks[end] for end in (0, *ends[:2])] == [True, True, False]


def test_a_doubled_line_is_refused_with_its_position(tmp_path):
    log = history(tmp_path)
    lines = log.file.read_bytes().splitlines(keepends=True)
    known = SweepState.of(log.read())
    for place, line in enumerate(lines):
        log.file.write_bytes(b"".join([*lines[:-1], line, lines[-1]]))
        if json.loads(line)["event"] in ("entered", "noted", "paced", "progressed", "scaled", "stalled"):
            assert SweepState.of(log.read()).trials.keys() == known.trials.keys()
        else:
            position = sum(map(len, lines[:-1] if place < len(lines) - 1 else lines))
            with pytest.raises(GensweepError, match=rf"damaged at byte {position} \(the line is repeated\)"):
                list(log.read())


def test_a_trial_that_is_suggested_twice_is_refused(tmp_path):
    log = history(tmp_path)
    position = log.size
    log.append(Suggested("t0001", 1, {"x": 2.0}, {"x": 2.0}, {}))
    with pytest.raises(GensweepError, match=rf"damaged at byte {position} \(t0001 is suggested twice\)"):
        list(log.read())


@pytest.mark.parametrize("tail", [b"\n", b"\n\n", b"\0" * 40, b"\0" * 40 + b"\n", b"\r\n", b'{"v":2,"ti', b" \n\0\0"])
def test_an_empty_end_is_a_torn_line(tmp_path, tail):
    log = history(tmp_path)
    content, events = log.file.read_bytes(), [entry.event for entry in log.read()]
    log.file.write_bytes(content + tail)
    assert [entry.event for entry in log.read()] == events
    added = log.append(Progressed("t0001", 160, {"loss": 1.0}))
    assert log.file.read_bytes().startswith(content + b"{")
    assert [entry.event for entry in log.read()] == [*events, added.event]


def test_an_empty_line_within_the_log_is_refused(tmp_path):
    log = history(tmp_path)
    first, _, rest = log.file.read_bytes().partition(b"\n")
    log.file.write_bytes(first + b"\n\0\0\n" + rest)
    with pytest.raises(GensweepError, match=rf"damaged at byte {len(first) + 1} \(an empty line\)"):
        list(log.read())


def test_a_deeply_nested_line_is_refused(tmp_path):
    log = history(tmp_path)
    size = log.size
    with log.file.open("ab") as file:
        file.write(b"[" * 200_000 + b"\n")
    with pytest.raises(GensweepError, match=rf"damaged at byte {size} \(it is nested too deeply\)"):
        list(log.read())


def test_a_lost_suggestion_gives_no_name_twice():
    state = SweepState()
    for number in (0, 2, 3):
        state.apply(Suggested(f"t{number:04d}", number, {}, {}, {}), 1)
    assert state.next_number == 4
    state.apply(Started("t0007"), 1)
    assert state.next_number == 8
