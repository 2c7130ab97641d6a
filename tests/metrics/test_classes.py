"""Metrics that look at classes: agreement with a probe, distances class by class."""

import numpy as np
import pytest
import torch
from real_features import MadeUp, features
from sklearn.linear_model import RidgeClassifierCV

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics.classes import Agreement, FrechetDistanceByClass, detail_names, distance_of_features
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.metric import METRICS
from gensweep.metrics.moments import Moments
from gensweep.metrics.probe import PROBE_PENALTIES, accuracy, fit_classifier

NAMES = ("cat", "dog", "horse")


def classes(n: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of three classes, each around another place, and their labels."""
    labels = torch.arange(n) % 3
    return features(n, d, seed) + torch.eye(3, d)[labels] * 0.9, labels


def reference(n: int = 300, d: int = 12) -> MadeUp:
    return MadeUp(classes(n, d, 1)[0], NAMES)


def scored(metric, x, labels):
    for batch in zip(x.split(37), labels.split(37), strict=True):
        metric.update(batch)
    return metric.compute()


def test_agreement_equals_sklearns_ridge_classifier():
    real, (x, labels) = reference(), classes(200, 12, 4)
    metric = Agreement(real)
    seen = real.features.double()
    penalties = np.array(PROBE_PENALTIES) * float(seen.var(0, correction=0).mean()) * len(seen)
    theirs = RidgeClassifierCV(penalties).fit(seen.numpy(), real.labels)
    right = torch.from_numpy(theirs.predict(x.double().numpy())) == labels
    assert 0.5 < right.double().mean() < 1
    assert scored(metric, x, labels) == pytest.approx(float(right.double().mean()), abs=1e-12)
    details = metric.details
    assert details["horse"] == pytest.approx(float(right[labels == 2].double().mean()))
    share = metric.compute()
    assert details["standard_error"] == pytest.approx((share * (1 - share) / len(labels)) ** 0.5)
    assert set(details) == {"real", "standard_error", *NAMES}


def test_the_ceiling_is_the_accuracy_on_unseen_images():
    x, labels = classes(300, 12, 1)
    unseen = classes(100, 12, 2)
    given = fit_classifier(x, labels, 3, unseen)
    assert given.ceiling == accuracy(given.probe, *unseen, torch.bincount(labels))
    without = fit_classifier(x, labels, 3)
    assert torch.equal(without.probe.weight, given.probe.weight)
    assert without.ceiling == pytest.approx(given.ceiling, abs=0.15)
    random = torch.randint(0, 3, (300,))
    assert fit_classifier(x, random, 3).ceiling < 0.5


@pytest.mark.parametrize(("n", "m", "d"), [(20, 40, 5), (20, 40, 30), (40, 20, 30), (9, 7, 30)])
def test_distance_of_features_equals_that_of_moments(n: int, m: int, d: int):
    x, y = features(n, d, 1), features(m, d, 3)
    a, b = Moments.of(x), Moments.of(y)
    expected = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
    assert distance_of_features(x, y) == pytest.approx(expected, rel=1e-6)
    assert distance_of_features(x, x) == pytest.approx(0, abs=1e-5)


def test_score_by_class_is_the_mean_over_classes():
    real, (x, labels) = reference(), classes(200, 12, 4)
    metric = FrechetDistanceByClass(real)
    score = scored(metric, x, labels)
    expected = [distance_of_features(x[labels == i], real.features[real.labels == i]) for i in range(3)]
    assert metric.details == pytest.approx(dict(zip(NAMES, expected, strict=True)))
    assert score == pytest.approx(sum(expected) / 3)


def test_unfit_inputs_are_refused(monkeypatch):
    with pytest.raises(GensweepError, match="at least 10 real images per class, but there are 7 of cat"):
        FrechetDistanceByClass(reference(20))
    for kind in ("agreement", "fd_by_class"):
        with pytest.raises(ConfigError, match=rf"{kind} compares classes, but the data have only one \(cat\)"):
            METRICS[kind](MadeUp(features(50, 5, 1), ("cat",)))
        with pytest.raises(GensweepError, match=r"labels of generated images must be in 0\.\.2, but range from 0 to 5"):
            METRICS[kind](reference()).update((features(6, 12, 1), torch.arange(6)))
    # As when a model is fine-tuned on one class: a classifier of these images is always right.
    monkeypatch.setattr(MadeUp, "labels", torch.full((300,), 1))
    with pytest.raises(ConfigError, match=rf"agreement compares classes, but the data have only one \({NAMES[1]}\)"):
        METRICS["agreement"](reference())


def test_detail_names_are_distinct_and_fit_mlflow():
    assert detail_names(["T-shirt/top (2)", "cat"]) == ["T-shirt_top _2_", "cat"]
    assert detail_names(["a/b", "a:b", "real"], {"real"}) == ["a_b_0", "a_b_1", "real_2"]
