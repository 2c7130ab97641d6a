"""The preference of people between two models, from votes on pairs of image grids.

Votes for no side are counted, but left out of the share, as in the sign test (Dixon & Mood 1946; Putter 1955).  The
interval is Wilson's: its coverage is about 95 % even for few votes, where Clopper and Pearson's is too wide (Brown,
Cai & DasGupta 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gensweep.results import Record

#: Fewer votes are few: the sign test finds a preference of 75 % in 30 votes with a probability of 80 %.
FEW_VOTES = 30
#: A side is favoured if chance gives it as many votes in fewer than one of 20 tests.
SIDE_ERROR = 0.05


@dataclass(frozen=True)
class Ballot(Record):
    """The votes of one person on the pairs of a page: 1 is for the left grid, 2 for the right one, 0 for neither.

    `first_left` is true for pairs with the first of the `runs` on the left.  A run is ID/TRIAL, with the sweep's id.
    """

    page: str
    voter: str
    runs: tuple[str, str]
    first_left: tuple[bool, ...]
    votes: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Preference:
    """Votes for two runs, the preferred one first; `ties` are votes for no side, `left` those for the left side."""

    run: str
    other: str
    votes: tuple[int, int]
    ties: int
    left: int
    voters: int

    @property
    def share(self) -> float:
        """The share of the preferred run in the votes for a side."""
        return self.votes[0] / sum(self.votes)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        found = _binomial(self.votes[0], sum(self.votes)).proportion_ci(method="wilson")
        return float(found.low), float(found.high)

    @property
    def favoured_side(self) -> Literal["left", "right"] | None:
        """The side with more votes than chance explains, as each run is on both sides equally often; else None."""
        total = sum(self.votes)
        if not total or _binomial(self.left, total).pvalue >= SIDE_ERROR:
            return None
        return "left" if 2 * self.left > total else "right"


def preference(ballots: Sequence[Ballot]) -> Preference:
    """Count the ballots of one page."""
    votes = [each for ballot in ballots for each in zip(ballot.votes, ballot.first_left, strict=False)]
    ties, left = (sum(vote == side for vote, _ in votes) for side in (0, 1))
    of_first = sum((vote == 1) is is_left for vote, is_left in votes if vote)
    counts = of_first, len(votes) - ties - of_first
    (most, run), (fewest, other) = sorted(zip(counts, ballots[0].runs, strict=True), reverse=True)
    return Preference(run, other, (most, fewest), ties, left, len(ballots))


def _binomial(successes: int, trials: int) -> Any:
    from scipy.stats import binomtest  # a slow import that few commands need

    return binomtest(successes, trials)
