"""The Inception score against SciPy's entropies, and its bounds."""

import numpy as np
import pytest
import torch
from real_features import features
from scipy.special import softmax
from scipy.stats import entropy
from torch import nn

from gensweep.errors import ConfigError, GensweepError
from gensweep.metrics.inception_score import COUNTING_BINS, InceptionScore
from gensweep.metrics.real import Real


class Head(Real):
    """Logits are the features, or there are none."""

    head: nn.Linear | None = None

    def __init__(self, classes: int | None = None) -> None:
        if classes is not None:
            self.head = nn.Linear(classes, classes, bias=False).requires_grad_(False)
            self.head.weight.copy_(torch.eye(classes))


def scored(logits: torch.Tensor, sizes: int = 37) -> InceptionScore:
    metric = InceptionScore(Head(logits.shape[1]))
    for batch in logits.split(sizes):
        metric.update(batch)
    return metric


@pytest.mark.parametrize("n", [10, 330, COUNTING_BINS, 3 * COUNTING_BINS])
def test_equals_scipys_entropies_of_parts(n: int):
    """benchmarks/evaluation.py holds it against torch-fidelity, whose wheel brings a package `tests` of its own."""
    logits = 2 * features(n, 20, 3)
    # Parts follow each other; of more images than bins they hold every COUNTING_BINS-th one.
    order = (torch.arange(n) % COUNTING_BINS).argsort(stable=True)
    parts = np.split(softmax(logits.double().numpy()[order], axis=1), 10)
    scores = [np.exp(entropy(p, p.mean(0, keepdims=True), axis=1).mean()) for p in parts]
    metric = scored(logits)
    assert metric.compute() == pytest.approx(np.mean(scores), rel=1e-9)
    assert metric.details["deviation"] == pytest.approx(np.std(scores), rel=1e-7)


def test_lies_between_one_and_the_number_of_classes():
    sure = 100 * torch.eye(8).repeat(20, 1)
    assert scored(torch.zeros(160, 8)).compute() == pytest.approx(1)
    assert scored(sure[:1].repeat(160, 1)).compute() == pytest.approx(1)
    assert scored(sure).compute() == pytest.approx(8)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_labels_that_come_in_turn_do_not_part_the_classes(classes: int):
    """Ten classes one after the other would put one class into each tenth image."""
    logits = 100 * torch.eye(classes)[torch.arange(4040) % classes]
    assert scored(logits).compute() == pytest.approx(classes, rel=0.02)


def test_extractors_without_logits_and_too_few_images_are_refused_in_words():
    with pytest.raises(ConfigError, match=r"^metrics: .*take the extractor inception, or leave it out"):
        InceptionScore(Head())
    with pytest.raises(GensweepError, match="an Inception score needs at least 10 generated images, but got 9; raise"):
        scored(features(9, 5, 1)).compute()
