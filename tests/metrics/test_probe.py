"""The linear probe and its accuracy on real images."""

import pytest
import torch
from real_features import features
from sklearn.datasets import load_digits

from gensweep.errors import GensweepError
from gensweep.metrics.probe import accuracy, fit_classifier, fit_probe, predicted


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    pixels, labels = load_digits(return_X_y=True)
    return torch.from_numpy(pixels[:n]).float(), torch.from_numpy(labels[:n]).long()


def test_a_class_without_images_is_never_predicted():
    x, y = digits(300)
    assert 10 not in predicted(fit_probe(x, y, 11), x)


def test_features_that_are_all_alike_give_the_most_frequent_class():
    found = fit_probe(torch.ones(9, 3), torch.tensor([2, 2, 2, 2, 1, 1, 0, 0, 0]), 3)
    assert predicted(found, torch.randn(4, 3)).tolist() == [2] * 4


def test_bad_inputs_are_refused_in_words():
    x = features(10, 4, 1)
    with pytest.raises(GensweepError, match="a probe needs images of at least 2 classes, but all 10 are of 1"):
        fit_probe(x, torch.full((10,), 2), 3)
    x[3, 1] = torch.nan
    with pytest.raises(GensweepError, match="1 of 10 images have NaN"):
        fit_probe(x, torch.arange(10) % 2, 2)
    probe = fit_probe(features(10, 4, 1), torch.arange(10) % 2, 2)
    with pytest.raises(GensweepError, match="an accuracy needs at least 1 image"):
        accuracy(probe, features(0, 4, 1), torch.arange(0), torch.arange(2))


def test_the_accuracy_does_not_depend_on_the_order_of_classes():
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
    right = (predicted(found.probe, x[1000:]) == y[1000:]).double()
    of_class = torch.stack([right[y[1000:] == digit].mean() for digit in range(10)])
    shares = torch.bincount(y[seen]) / len(seen)
    assert found.ceiling == pytest.approx(float((shares * of_class).sum()), rel=1e-6)
    assert found.ceiling > float(right.mean()) + 0.1
