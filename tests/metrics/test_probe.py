"""The linear probe against scikit-learn's ridge regression with leave-one-out."""

import numpy as np
import pytest
import torch
from real_features import features
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, RidgeCV

from gensweep.errors import GensweepError
from gensweep.metrics import probe as module
from gensweep.metrics.probe import PROBE_PENALTIES, fit_classifier, fit_probe


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    return torch.from_numpy(pixels[:n]).float(), torch.from_numpy(labels[:n]).long()


@pytest.mark.parametrize(("n", "d", "rows"), [(300, 64, 4096), (300, 64, 37), (40, 64, 4096), (300, 5, 100)])
def test_equals_scikit_learns_ridge_with_leave_one_out(n: int, d: int, rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PROBE_BATCH", rows)
    x, y = digits(n)
    x = x[:, -d:]
    x = x.double()
    centred = (x - x.mean(0)).numpy()
    scale = (centred**2).sum() / d
    theirs = RidgeCV(alphas=np.array(PROBE_PENALTIES) * scale).fit(x.numpy(), np.eye(10)[y])
    ours = fit_probe(x, y, 10)
    assert ours.penalty == pytest.approx(theirs.alpha_, rel=1e-9)
    np.testing.assert_allclose(ours.weights.numpy(), theirs.coef_.T, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.scores(x).numpy(), theirs.predict(x.numpy()), rtol=1e-6, atol=1e-8)


def test_classifies_unseen_digits_not_much_worse_than_logistic_regression():
    x, y = digits(1797)
    probe = fit_probe(x[:1000], y[:1000], 10)
    theirs = LogisticRegression(max_iter=2000).fit(x[:1000].numpy(), y[:1000].numpy())
    assert (
        probe.accuracy(x[1000:], y[1000:], torch.bincount(y[1000:]))
        > theirs.score(x[1000:].numpy(), y[1000:].numpy()) - 0.05
    )
    assert torch.equal(probe.predict(x[1000:]), probe.scores(x[1000:]).argmax(1))


def test_labels_that_mean_nothing_get_a_strong_penalty_and_separate_ones_a_weak_one():
    x, random = features(200, 20, 1), torch.arange(200) % 2
    told = (x[:, -1] > 0.1).long()
    assert fit_probe(x, random, 2).penalty > 100 * fit_probe(x, told, 2).penalty
    assert fit_probe(x, told, 2).accuracy(x, told, torch.bincount(told)) > 0.9


def test_a_class_without_images_is_never_predicted():
    x, y = digits(300)
    assert 10 not in fit_probe(x, y, 11).predict(x)


def test_features_that_are_all_alike_give_the_most_frequent_class():
    found = fit_probe(torch.ones(9, 3), torch.tensor([2, 2, 2, 2, 1, 1, 0, 0, 0]), 3)
    assert found.predict(torch.randn(4, 3)).tolist() == [2] * 4


def test_bad_inputs_are_refused_in_words():
    x = features(10, 4, 1)
    with pytest.raises(GensweepError, match="at least 2 classes and 2 images, but got 1 and 10"):
        fit_probe(x, torch.zeros(10, dtype=torch.long), 1)
    with pytest.raises(GensweepError, match="a probe needs images of at least 2 classes, but all 10 are of 1"):
        fit_probe(x, torch.full((10,), 2), 3)
    with pytest.raises(GensweepError, match=r"labels must be in 0\.\.2, but go from 0 to 9"):
        fit_probe(x, torch.arange(10), 3)
    x[3, 1] = torch.nan
    with pytest.raises(GensweepError, match="1 of 10 images have NaN"):
        fit_probe(x, torch.arange(10) % 2, 2)
    with pytest.raises(GensweepError, match="an accuracy needs at least 1 image"):
        fit_probe(features(10, 4, 1), torch.arange(10) % 2, 2).accuracy(
            features(0, 4, 1), torch.arange(0), torch.arange(2)
        )


def test_without_unseen_images_the_accuracy_does_not_depend_on_how_classes_take_turns():
    x, y = digits(1500)
    before = torch.stack([(y[:i] == y[i]).sum() for i in range(len(y))])  # images of the same class
    in_turns = before.argsort(stable=True)
    orders = [torch.arange(len(y)), y.argsort(stable=True), in_turns]
    found = [fit_classifier(x[order], y[order], 10).ceiling for order in orders]
    assert min(found) > 0.85
    assert max(found) - min(found) < 0.05


def test_the_accuracy_is_that_of_images_in_the_proportions_of_the_training():
    x, y = digits(1797)
    seen = torch.arange(1000)[(y[:1000] < 5) | (torch.arange(1000) % 10 == 0)]  # of every other digit a tenth
    found = fit_classifier(x[seen], y[seen], 10, (x[1000:], y[1000:]))
    right = (found.probe.predict(x[1000:]) == y[1000:]).double()
    of_class = torch.stack([right[y[1000:] == digit].mean() for digit in range(10)])
    shares = torch.bincount(y[seen]) / len(seen)
    assert found.ceiling == pytest.approx(float((shares * of_class).sum()), rel=1e-6)
    assert found.ceiling > float(right.mean()) + 0.1
