"""Trends of made-up scores."""

import numpy as np
import pytest
from truths.trainings import KnownLaw, MadeUpSweep

from gensweep.extras.plan.spending import MIN_TREND, score_trend


def drawn(sweep, seed=0):
    return sweep.draw(np.random.default_rng(seed))[0]


@pytest.mark.parametrize("evaluations", [2, 6, 24])
def test_scatter_has_a_standard_normal_trend(evaluations):
    made = MadeUpSweep(KnownLaw(100, 0, images=0, noise=0.35), evaluations=evaluations, rungs=())
    found = np.array([score_trend(drawn(made, seed)) for seed in range(300)])
    assert abs(found.mean()) < 0.25
    assert 0.7 < found.std() < 1.15  # a little less than 1 where pairs are few, by the continuity correction
    assert np.mean(found >= MIN_TREND) < 0.06


def test_a_fall_before_the_last_factor_of_4_does_not_count():
    level = MadeUpSweep(KnownLaw(saturates=1.6e12, noise=0.1), rungs=())
    assert abs(np.mean([score_trend(drawn(level, seed)) for seed in range(100)])) < 0.3
