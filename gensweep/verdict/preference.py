"""The preference of people between two models, from votes on pairs of image grids.

Votes for neither side are counted, but left out of the share, as in the sign test (Dixon & Mood 1946; Putter 1955).
The interval is Wilson's, which covers about 95 % even for few votes; that of Clopper and Pearson is too wide (Brown,
Cai & DasGupta 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from gensweep.results import Record

#: A side is favoured if chance gives it as many votes with a probability below this.
SIDE_ERROR = 0.05


@dataclass(frozen=True)
class Ballot(Record):
    """The votes of one person, by pair: 1 for the left grid, 2 for the right one, 0 for neither.

    `first_left` is true for pairs with the first of the `runs` on the left.
    """

    page: str
    voter: str
    runs: tuple[str, str]
    first_left: tuple[bool, ...]
    votes: tuple[int, ...]
    seed: int


class Preference(NamedTuple):
    """The preferred run, its share of the `votes` for a side, and the 95 % interval of the share."""

    preferred: str
    other: str
    share: float | None
    low: float | None
    high: float | None
    votes: int
    ties: int
    voters: int
    favoured_side: Literal["left", "right"] | None
    """The side with more votes than chance explains, as each run is on both sides equally often."""


def preference(ballots: Sequence[Ballot]) -> Preference:
    """Count the ballots of a page."""
    from scipy.stats import binomtest  # a slow import that few commands need

    cast = [each for ballot in ballots for each in zip(ballot.votes, ballot.first_left, strict=False)]
    ties, left, right = (sum(vote == side for vote, _ in cast) for side in (0, 1, 2))
    of_first, total = sum((vote == 1) is is_left for vote, is_left in cast if vote), left + right
    (most, preferred), (_, other) = sorted(zip((of_first, total - of_first), ballots[0].runs, strict=True))[::-1]
    if not total:
        return Preference(preferred, other, None, None, None, 0, ties, len(ballots), None)
    share, by_side = binomtest(most, total), binomtest(left, total)
    interval = share.proportion_ci(method="wilson")
    side: Literal["left", "right"] = "left" if left > right else "right"
    favoured = side if by_side.pvalue < SIDE_ERROR else None
    return Preference(
        preferred, other, most / total, float(interval.low), float(interval.high), total, ties, len(ballots), favoured
    )
