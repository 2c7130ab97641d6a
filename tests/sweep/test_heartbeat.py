"""How long a worker may take for its next step, and what it says of itself."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time

import pytest

from gensweep.cache import locked
from gensweep.phases import RESTING
from gensweep.remote_folder import PATIENCE
from gensweep.sweep.heartbeat import FIRST_TIMEOUTS, Heartbeat, waited_for_a_core


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


@pytest.mark.skipif(sys.platform != "linux", reason="nobody tells elsewhere")
def test_a_thread_that_shares_a_core_with_another_program_waits_for_it():
    me, cores = threading.get_native_id(), os.sched_getaffinity(0)
    before, enough = waited_for_a_core(me), time.thread_time() + 20
    os.sched_setaffinity(0, {min(cores)})
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:  # on the same core
        try:
            while waited_for_a_core(me) < before + 0.05:
                assert time.thread_time() < enough
        finally:
            other.kill()
            os.sched_setaffinity(0, cores)
    assert waited_for_a_core(2**30) == 0  # no thread


@pytest.mark.parametrize(("phase", "storage"), [("starting", PATIENCE), ("training", 0), ("drawing samples", 0)])
def test_the_first_step_of_a_trial_and_of_a_phase_may_take_much_longer(heartbeat, clock, phase, storage):
    steps(heartbeat, clock, phase, 0)
    assert heartbeat.patience == FIRST_TIMEOUTS * 60 + storage


def test_scoring_is_given_more_time_as_its_steps_are_unlike(heartbeat, clock):
    steps(heartbeat, clock, "scoring", 1, 2, 3)
    assert heartbeat.patience == FIRST_TIMEOUTS * 60 + 3


def test_saving_may_wait_for_a_storage_that_is_tried_again(heartbeat, clock):
    steps(heartbeat, clock, "saving", 0)
    assert heartbeat.patience > PATIENCE


def test_nothing_is_known_of_the_steps_of_the_next_trial(heartbeat, clock):
    steps(heartbeat, clock, "training", 1, 1)
    heartbeat.rest()
    assert heartbeat.patience == math.inf
    heartbeat.begin(30.0)
    steps(heartbeat, clock, "training", 1)
    assert heartbeat.patience == FIRST_TIMEOUTS * 30


def test_a_timeout_of_null_means_never(heartbeat, clock):
    heartbeat.begin(None)
    steps(heartbeat, clock, "training", 1, 1)
    assert heartbeat.patience == math.inf
    assert heartbeat.sign().timeout is None


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


def test_a_trial_that_begins_and_a_phase_that_lasts_are_said_at_once_and_a_moment_is_not(monkeypatch):
    monkeypatch.setattr("gensweep.sweep.heartbeat.SIGN_INTERVAL", 1e6)
    signs, heard = [], threading.Event()

    def send(sign):
        signs.append(sign)
        heard.set()

    heartbeat = Heartbeat(send, rank=0, node="n", meetings=lambda: 0, timeout=1e9)
    heartbeat.start()
    assert heard.wait(30)
    heard.clear()
    heard.clear()
    heartbeat.begin(1e9)
    heartbeat.moved("loading data")
    assert heard.wait(30)
    heartbeat.stop()
    assert [sign.phase for sign in signs][:2] == [RESTING, "loading data"]


def test_signs_are_sent_by_a_thread_until_it_is_stopped():
    signs, heard = [], threading.Event()

    def send(sign):
        signs.append(sign)
        if len(signs) == 3:
            heard.set()

    heartbeat = Heartbeat(send, rank=0, node="n", meetings=lambda: 0, timeout=0.2)
    heartbeat.start()
    assert heard.wait(30)
    heartbeat.stop()
    assert {sign.rank for sign in signs} == {0}


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
