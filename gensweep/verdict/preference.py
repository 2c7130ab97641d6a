"""The preference of people between two models, from votes on pairs of image grids.

Votes for neither side are counted, but left out of the share, as in the sign test (Dixon & Mood 1946; Putter 1955).
The interval is Wilson's, which covers about 95 % even for few votes; that of Clopper and Pearson is too wide (Brown,
Cai & DasGupta 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gensweep.results import Record

#: A side is favoured if the p-value of its votes is below this.
SIDE_ERROR = 0.05


@dataclass(frozen=True)
class Ballot(Record):
    """Votes of one person: 1 for left, 2 for right, 0 for neither.  `first_left` are the sides of the first run."""

    page: str
    voter: str
    runs: tuple[str, str]
    first_left: tuple[bool, ...]
    votes: tuple[int, ...]
    seed: int


class Preference(NamedTuple):
    """The share of the preferred run in the `votes` for a side, with its 95 % interval; None without such votes."""

    preferred: str
    other: str
    share: float | None
    low: float | None
    high: float | None
    votes: int
    ties: int
    voters: int
    favoured_side: str | None
    """The side with more votes than chance explains: each run is on both sides equally often."""


def preference(ballots: Sequence[Ballot]) -> Preference:
    """Count the ballots of a page."""
    from scipy.stats import binomtest  # a slow import that few commands need

    cast = [each for ballot in ballots for each in zip(ballot.votes, ballot.first_left, strict=False)]
    left, right = (sum(vote == side for vote, _ in cast) for side in (1, 2))
    of_first, total = sum((vote == 1) is is_left for vote, is_left in cast if vote), left + right
    (_, other), (most, preferred) = sorted(zip((of_first, total - of_first), ballots[0].runs, strict=True))
    share, low, high, favoured = None, None, None, None
    if total:
        share, (low, high) = most / total, map(float, binomtest(most, total).proportion_ci(method="wilson"))
        if binomtest(left, total).pvalue < SIDE_ERROR:
            favoured = "left" if left > right else "right"
    return Preference(preferred, other, share, low, high, total, len(cast) - total, len(ballots), favoured)
