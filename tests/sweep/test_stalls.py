"""Who is taken to hang, from signs of life alone."""

from __future__ import annotations

import math

import pytest

from gensweep.sweep.stalls import LONGEST_LOOK, Sign, StallWatch


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Group:
    """A watch, and ranks that send a sign each second; the `silent` ones do not."""

    def __init__(self, world=2, **sign):
        self.clock = Clock()
        self.watch = StallWatch(self.clock)
        self.signs = {rank: made_sign(rank, **sign) for rank in range(world)}
        self.silent = set()
        self.say()

    def say(self):
        for rank, sign in self.signs.items():
            if rank not in self.silent:
                self.watch.hear(sign)

    def wait(self, seconds):
        for _ in range(seconds):
            self.clock.now += 1
            self.say()

    def move(self, rank, **position):
        self.signs[rank] = self.signs[rank]._replace(**position)

    @property
    def stuck(self):
        return [each.sign.rank for each in self.watch.stuck]


def made_sign(rank, *, timeout=60.0, slowest=5.0, phase="training"):
    patience = math.inf if timeout is None else timeout + slowest
    return Sign(rank, "host", "node", 100 + rank, 3, phase, 1, 1, timeout, patience)


def test_a_rank_that_came_to_fewer_meetings_than_others_is_stuck_and_they_wait_for_it():
    group = Group(world=3)
    for rank in (0, 2):
        group.move(rank, meetings=2)
    group.wait(65)
    assert group.stuck == []
    group.wait(2)
    assert group.stuck == [1]


def test_all_ranks_of_a_meeting_that_does_not_end_are_stuck():
    group = Group()
    group.wait(67)
    assert group.stuck == [0, 1]


def test_as_long_as_one_rank_moves_the_others_may_wait_for_it():
    group = Group()
    for moves in range(20):
        group.move(1, moves=moves)
        group.wait(10)
    assert group.stuck == []
    assert group.watch.seconds == 0


def test_a_rank_in_a_phase_that_takes_long_holds_up_no_verdict_on_one_that_is_silent():
    group = Group()
    group.signs[0] = made_sign(0, slowest=600, phase="scoring")
    group.silent = {1}
    group.wait(60)
    assert group.stuck == []
    group.wait(1)
    (found,) = group.watch.stuck
    assert (found.sign.rank, found.silent) == (1, True)
    assert str(found) == "rank 1 gives no sign of life for 61 s while training (pid 101 on host)"


def test_that_nothing_moves_is_told_when_half_of_the_timeout_has_passed_beyond_the_slowest_step():
    group = Group()
    group.wait(35)
    assert group.watch.seconds == 0
    group.wait(2)
    assert group.watch.seconds == pytest.approx(37, abs=1)
    group.move(0, moves=2)
    group.wait(1)
    assert group.watch.seconds == 0


def test_a_watch_that_slept_itself_blames_nobody_for_that_time():
    group = Group()
    group.clock.now += 3600
    assert group.stuck == []
    assert group.watch.seconds <= LONGEST_LOOK
    group.say()
    group.wait(40)
    assert group.stuck == []
