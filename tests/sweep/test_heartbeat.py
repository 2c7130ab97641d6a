"""How long a worker may take for its next step, and what it says of itself."""

from __future__ import annotations

import threading

import pytest

from gensweep.files import locked
from gensweep.phases import RESTING
from gensweep.remote_folder import PATIENCE
from gensweep.sweep.heartbeat import FIRST_TIMEOUTS, Heartbeat


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def heartbeat(clock):
    made = Heartbeat([].append, rank=1, node="n", meetings=lambda: 7, timeout=60.0, clock=clock)
    made.begin(60.0)
    return made


def steps(heartbeat, clock, phase, *seconds):
    for each in seconds:
        clock.now += each
        heartbeat.moved(phase)


def test_a_step_may_take_the_timeout_longer_than_the_slowest_one_so_far(heartbeat, clock):
    steps(heartbeat, clock, "training", 300, 2, 7, 3)
    assert heartbeat.patience == 67


def test_what_a_step_waits_for_a_core_is_no_delay_of_its_own(clock):
    waits = {threading.get_native_id(): 100.0}
    heartbeat = Heartbeat([].append, rank=0, node="n", meetings=int, timeout=60.0, clock=clock, waited=waits.get)
    heartbeat.begin(60.0)
    steps(heartbeat, clock, "training", 1, 2)
    assert heartbeat.sign().patience == 62
    waits[threading.get_native_id()] += 45
    assert heartbeat.sign().patience == 107
    steps(heartbeat, clock, "training", 2)
    assert heartbeat.sign().patience == 62


@pytest.mark.parametrize(("phase", "storage"), [("starting", PATIENCE), ("training", 0), ("drawing samples", 0)])
def test_the_first_step_of_a_trial_and_of_a_phase_may_take_much_longer(heartbeat, clock, phase, storage):
    steps(heartbeat, clock, phase, 0)
    assert heartbeat.patience == FIRST_TIMEOUTS * 60 + storage


def test_a_sign_changes_its_position_with_a_step_a_phase_and_a_meeting(clock):
    meetings = [1]
    heartbeat = Heartbeat([].append, rank=0, node="n", meetings=lambda: meetings[0], timeout=60.0, clock=clock)
    assert heartbeat.sign().phase == RESTING
    positions = [heartbeat.sign().position]
    assert heartbeat.sign().position == positions[0]
    heartbeat.moved()
    positions.append(heartbeat.sign().position)
    heartbeat.moved("training")
    positions.append(heartbeat.sign().position)
    meetings[0] += 1
    positions.append(heartbeat.sign().position)
    assert len(set(positions)) == 4


def test_who_waits_for_another_process_that_writes_in_the_cache_moves(heartbeat, tmp_path):
    entry = tmp_path / "entry"
    with locked(entry):
        waiting = threading.Thread(target=lambda: locked(entry).__enter__(), daemon=True)
        waiting.start()
        positions = {heartbeat.sign().position}
        while len(positions) < 3:
            positions.add(heartbeat.sign().position)
    waiting.join()
    assert heartbeat.sign().position == heartbeat.sign().position


def test_a_sign_that_could_not_be_sent_is_followed_by_others(caplog):
    tries, heard = [], threading.Event()

    def send(sign):
        tries.append(sign)
        if len(tries) == 1:
            raise ConnectionError("the queue is being started again")
        heard.set()

    heartbeat = Heartbeat(send, rank=0, node="n", meetings=lambda: 0, timeout=0.2)
    heartbeat.start()
    assert heard.wait(30)
    heartbeat.stop()
    assert "a sign of life could not be sent" in caplog.text
