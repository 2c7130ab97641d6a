"""Laws that are fitted to made-up trainings whose law is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from truths.trainings import KnownLaw, MadeUpSweep, flops_of

from gensweep.extras.plan import forecast
from gensweep.extras.plan.forecast import FittedFamily, forecast_of
from gensweep.extras.plan.scaling_law import FLOOR, PRIOR, SCORE_DEVIATION, TRIAL_DEVIATION, fit_law, law_loss
from gensweep.extras.plan.scored_trainings import observe

CLEAR = KnownLaw(trainings=0.05, speeds=0.0, noise=0.003)


@pytest.fixture(autouse=True)
def few_replicates(monkeypatch):
    monkeypatch.setattr(forecast, "REPLICATES", 40)


@pytest.fixture(scope="module")
def clear():
    """Many trainings with hardly any noise, and the effect and speed of each."""
    return MadeUpSweep(CLEAR, trainings=24, rungs=(3,)).draw(np.random.default_rng(0))


@given(st.lists(st.floats(-1, 1), min_size=7, max_size=7), st.integers(0, 1000))
@settings(max_examples=20)
def test_the_gradient_is_that_of_the_loss(offsets, seed):
    rng = np.random.default_rng(seed)
    data = observe(MadeUpSweep(trainings=6).draw(rng)[0])
    weights = rng.integers(0, 3, size=6).astype(float)
    at, gradient = PRIOR.mean + np.array(offsets), []
    for index in range(len(at)):
        step = 1e-5 * np.eye(len(at))[index]
        ends = [law_loss(at + sign * step, data, weights, PRIOR)[0] for sign in (1, -1)]
        gradient.append((ends[0] - ends[1]) / 2e-5)
    assert law_loss(at, data, weights, PRIOR)[1] == pytest.approx(gradient, rel=1e-4, abs=1e-3)


def test_a_known_law_is_recovered_and_predicts_four_times_the_compute(clear):
    trainings, effects = clear
    fitted = FittedFamily.of(trainings)
    for index, each in enumerate(trainings):
        if not each.curve.stopped_early:
            images = 4 * each.images(each.curve.spent)
            expected = forecast_of(fitted.draws([index], each.flops_per_image, np.array([images]))[:, 0]).value
            assert expected == pytest.approx(CLEAR.scores(each.width, np.array([images]), *effects[index])[0], rel=0.05)
    found = np.exp(fitted.best)
    assert found[SCORE_DEVIATION] == pytest.approx(CLEAR.noise, rel=0.6)
    assert found[TRIAL_DEVIATION] == pytest.approx(effects[:, 0].std(), rel=0.6)


def test_the_floor_is_found_where_scores_have_come_near_it():
    law = replace(CLEAR, floor=60.0, images=40.0, images_exponent=1.0, size=0.01)
    trainings, _ = MadeUpSweep(law, trainings=12, rungs=(), evaluations=48).draw(np.random.default_rng(1))
    data = observe(trainings)
    assert np.exp(fit_law(data)[FLOOR]) * data.scale.score == pytest.approx(60, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_the_score_of_real_images_makes_a_law_surer(seed):
    law = KnownLaw(real=60.0, floor=0.5, size=3.0, noise=0.02)
    trainings, effects = MadeUpSweep(law, trainings=8, rungs=(), evaluations=8).draw(np.random.default_rng(seed))
    best = min(range(8), key=lambda index: trainings[index].envelope[-1].order)
    each, unknown = trainings[best], [replace(each, floor=0.0) for each in trainings]
    images = np.array([16 * each.images(each.curve.spent)])
    found = law.scores(each.width, images, *effects[best])[0]
    with_it, without = (
        forecast_of(FittedFamily.of(made).draws([best], each.flops_per_image, images)[:, 0])
        for made in (trainings, unknown)
    )
    assert with_it.value == pytest.approx(found, rel=0.05)
    assert with_it.high / with_it.low < without.high / without.low


def test_stopping_the_worse_trainings_early_does_not_bend_the_law():
    sweep = MadeUpSweep(KnownLaw(trainings=0.4, speeds=0.0, noise=0.01), trainings=40, widths=(32,), rungs=(3, 6, 12))
    trainings, _ = sweep.draw(np.random.default_rng(2))
    far = np.array([each.images(sweep.flops) for each in trainings[:1]]) * 4
    expected = float(np.median(FittedFamily.of(trainings).draws([], trainings[0].flops_per_image, far)))
    middle = np.median(
        [sweep.law.trainings * (1.3 * abs(z) - 1.0) for z in np.random.default_rng(0).normal(size=10000)]
    )
    assert np.exp(expected) == pytest.approx(sweep.law.scores(32, far, middle)[0], rel=0.12)


def test_one_training_gone_wrong_hardly_moves_the_law(clear):
    trainings, _ = clear
    spoilt = list(trainings)
    points = tuple(replace(point, order=point.order * 10) for point in trainings[0].curve.points)
    spoilt[0] = replace(trainings[0], curve=replace(trainings[0].curve, points=points))
    flops, images = flops_of(32), np.array([4e5])
    both = [float(np.median(FittedFamily.of(each).draws([5], flops, images))) for each in (trainings, spoilt)]
    assert both[0] == pytest.approx(both[1], abs=0.05)


def test_another_training_is_less_certain_where_seeds_differ():
    rng = np.random.default_rng(3)
    trainings, _ = MadeUpSweep(KnownLaw(noise=0.01), trainings=10, rungs=()).draw(rng)
    repeated = []
    for each in trainings:
        for seed in range(2):
            factor = np.exp(0.2 * rng.normal())
            points = tuple(replace(point, order=point.order * factor) for point in each.curve.points)
            repeated.append(replace(each, curve=replace(each.curve, trial=f"{each.curve.trial}-{seed}", points=points)))
    fitted = FittedFamily.of(repeated)
    assert fitted.seed_deviation == pytest.approx(0.2, rel=0.5)
    assert FittedFamily.of(trainings).seed_deviation is None
    known, anew = (fitted.draws([0], flops_of(32), np.array([1e5]), anew=new).std() for new in (False, True))
    assert anew > 1.3 * known
