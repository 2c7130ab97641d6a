"""Votes by eye: whom people prefer, how surely, and whether they favour a side."""

import pytest

from gensweep.verdict.preference import Ballot, preference

SIDES = (True, False) * 10


def cast(votes, sides=SIDES, voter="a"):
    return Ballot("page", voter, ("one", "other"), sides, tuple(votes), 1)


def side_of(run, sides=SIDES):
    """The votes of a person who always sees which side a run is on."""
    return [1 if left is (run == "one") else 2 for left in sides]


@pytest.mark.parametrize("run", ["one", "other"])
def test_votes_are_decoded_by_the_sides_of_the_runs(run):
    found = preference([cast(side_of(run))])
    assert (found.preferred, found.share, found.votes, found.ties) == (run, 1.0, 20, 0)
    assert found.favoured_side is None


def test_interval_is_wilsons():
    # Newcombe 1998, table I: 15 of 148 has the score interval 0.0624 to 0.1605, so 133 of 148 has 0.8395 to 0.9376.
    sides = (True,) * 148
    found = preference([cast([1] * 133 + [2] * 15, sides)])
    assert (found.low, found.high) == pytest.approx((0.8395, 0.9376), abs=5e-5)


def test_votes_for_neither_side_are_left_out_and_counted():
    found = preference([cast([0, 0, *side_of("one")[2:]]), cast([0], voter="b")])
    assert (found.share, found.votes, found.ties, found.voters) == (1.0, 18, 3, 2)
    found = preference([cast([0] * 20)])
    assert (found.share, found.votes, found.ties) == (None, 0, 20)


@pytest.mark.parametrize(("lefts", "favoured"), [(14, None), (15, "left"), (5, "right"), (6, None)])
def test_favoured_side_needs_more_than_chance(lefts, favoured):
    # Two-sided sign test of 20: 15 has p = 0.041, 14 has p = 0.115.
    assert preference([cast([1] * lefts + [2] * (20 - lefts))]).favoured_side == favoured
