"""Would the law have been right about a wider network?  The largest width is hidden, predicted, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gensweep.compute.backtest import (
    LIMIT_TOLERANCE,
    MIN_CONFIGURATIONS,
    MIN_COVERAGE,
    MIN_HIDDEN_OF_FAMILY,
    HiddenScore,
    configurations,
)
from gensweep.compute.forecast import FittedFamily, forecast_of
from gensweep.compute.scored_trainings import ScoredTraining

#: Widths that a law of the width is fitted to: of one it knows no slope.
MIN_FITTED_WIDTHS = 2


@dataclass(frozen=True)
class WidthBacktest:
    """How well a law that was fitted to the narrower networks of a family predicted the widest.

    Nothing is known of the settings of the hidden trainings but their width, so the intervals hold what settings do.
    They are compared at the budget that all of them reached: those that went on were chosen.  One that has no score
    there, as budgets in seconds may have it, is left out.
    """

    group: str
    width: int
    hidden: tuple[HiddenScore, ...]

    @property
    def coverage(self) -> float:
        """The part of the hidden scores that their 80 % intervals hold."""
        return float(np.mean([each.inside for each in self.hidden]))

    @property
    def ratio(self) -> float:
        """What was expected over what was found, the geometric mean: above 1, wider was better than expected."""
        return float(np.exp(np.mean([np.log(each.forecast.value / each.score) for each in self.hidden])))

    @property
    def trusted(self) -> bool:
        """Whether a network may be proposed that is wider than all that were tried."""
        return self.coverage >= MIN_COVERAGE


def width_backtest(group: str, trainings: Sequence[ScoredTraining]) -> WidthBacktest | None:
    """Hide, fit and predict; None for a family that has too few widths, trainings or scores in common."""
    widest = max(each.width for each in trainings)
    hidden, narrower = ([each for each in trainings if (each.width == widest) is wanted] for wanted in (True, False))
    widths = len({each.width for each in narrower})
    few = configurations(narrower) < MIN_CONFIGURATIONS or len(hidden) < MIN_HIDDEN_OF_FAMILY
    if widths < MIN_FITTED_WIDTHS or few:
        return None
    fitted = FittedFamily.of(narrower)
    common = min(each.curve.spent for each in hidden)
    within = [each.within(LIMIT_TOLERANCE * common) for each in hidden]
    scored = [each for each in within if each.curve.points]
    if len(scored) < MIN_HIDDEN_OF_FAMILY:
        return None
    return WidthBacktest(group, widest, tuple(_predicted(fitted, each) for each in scored))


def _predicted(fitted: FittedFamily, training: ScoredTraining) -> HiddenScore:
    point, curve = training.envelope[-1], training.curve
    draws = fitted.draws((), training.flops_per_image, np.array([training.images(point.spent)]))
    return HiddenScore(curve.group, curve.trial, point.spent, point.order, forecast_of(draws[:, 0]))
