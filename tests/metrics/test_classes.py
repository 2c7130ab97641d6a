"""Agreement of generated images with their classes, by a probe."""

import numpy as np
import pytest
import torch
from real_features import MadeUp, features
from sklearn.linear_model import RidgeClassifierCV

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics.classes import Agreement, detail_names
from gensweep.metrics.metric import METRICS
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


def test_unfit_inputs_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"agreement compares classes, but the data have only one \(cat\)"):
        METRICS["agreement"](MadeUp(features(50, 5, 1), ("cat",)))
    with pytest.raises(GensweepError, match=r"labels of generated images must be in 0\.\.2, but range from 0 to 5"):
        METRICS["agreement"](reference()).update((features(6, 12, 1), torch.arange(6)))
    # As when a model is fine-tuned on one class: a classifier of these images is always right.
    monkeypatch.setattr(MadeUp, "labels", torch.full((300,), 1))
    with pytest.raises(ConfigError, match=rf"agreement compares classes, but the data have only one \({NAMES[1]}\)"):
        METRICS["agreement"](reference())


def test_detail_names_are_distinct_and_fit_mlflow():
    assert detail_names(["T-shirt/top (2)", "cat"]) == ["T-shirt_top _2_", "cat"]
    assert detail_names(["a/b", "a:b", "real"], {"real"}) == ["a_b_0", "a_b_1", "real_2"]
