"""Do measures of other kinds prefer the same model?  A second look at a winner and its runner-up."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, NamedTuple, TypeAlias

from gensweep.metrics.panel import PANEL
from gensweep.results import Identity, Score, order_of

#: A difference of more than this number of its errors is beyond chance: one-sided, 5 % for six kinds together.
BEYOND_CHANCE = 2.4
#: Spread of a score between trainings that differ by seed, as a share of the score; experiments/panel measures it.
SEED_SHARE = 0.1

Outcome: TypeAlias = Literal["confirmed", "contested", "unchecked"]


class Difference(NamedTuple):
    """Scores of both models by a measure, and by how many errors the winner is better."""

    measure: str
    kind: str
    votes: bool
    winner: float
    other: float
    errors: float


@dataclass(frozen=True)
class SecondLook:
    """Differences of a pair by the panel.  `kinds` are the mean differences by kind, of the measures that vote."""

    differences: tuple[Difference, ...]
    kinds: Mapping[str, float]

    @property
    def agreeing(self) -> list[str]:
        """Kinds that prefer the winner beyond chance."""
        return [kind for kind, errors in self.kinds.items() if errors > BEYOND_CHANCE]

    @property
    def contesting(self) -> list[str]:
        """Kinds that prefer the other beyond chance."""
        return [kind for kind, errors in self.kinds.items() if errors < -BEYOND_CHANCE]

    @property
    def outcome(self) -> Outcome:
        """Contested by at least one kind; confirmed if at least half of them agree; else unchecked."""
        confirmed = self.kinds and 2 * len(self.agreeing) >= len(self.kinds)
        return "contested" if self.contesting else "confirmed" if confirmed else "unchecked"


#: Without scores of the panel.
UNCHECKED = SecondLook((), {})


def look_again(
    winner: Sequence[Mapping[str, Score]], other: Sequence[Mapping[str, Score]], objective: Identity | None = None
) -> SecondLook:
    """Compare two configurations by the scores of their trainings, by measure of the panel.

    The measure of the `objective`, which chose the winner, has no vote.  Scores of different identities are left out.
    """
    found, kinds = list[Difference](), defaultdict[str, list[float]](list)
    for measure in PANEL:
        sides = [[scores[measure.name] for scores in side if measure.name in scores] for side in (winner, other)]
        if not all(sides) or len({score.identity for side in sides for score in side}) > 1:
            continue
        identity, mode = sides[0][0].identity, sides[0][0].mode
        (first, error), (second, opposite) = map(_mean, sides)
        behind, spread = order_of(second, mode) - order_of(first, mode), math.hypot(error, opposite)
        errors = behind / spread if spread and abs(behind) > measure.margin else 0.0
        chose = objective and (identity.metric, identity.extractor) == (objective.metric, objective.extractor)
        found.append(Difference(measure.name, measure.kind, measure.votes and not chose, first, second, errors))
        if found[-1].votes:
            kinds[measure.kind].append(errors)
    return SecondLook(tuple(found), {kind: fmean(errors) for kind, errors in kinds.items()})


def _mean(scores: Sequence[Score]) -> tuple[float, float]:
    """The mean of a configuration's trainings, and its error for the images and the seeds."""
    values = [score.value for score in scores]
    mean, of_images = fmean(values), fmean((score.error or 0.0) ** 2 for score in scores)
    # The spread of a few seeds may be small by chance.
    of_seeds = max(SEED_SHARE * abs(mean), stdev(values) if len(values) > 1 else 0.0)
    return mean, math.sqrt((of_images + of_seeds**2) / len(values))
