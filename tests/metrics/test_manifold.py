"""Precision, recall, density and coverage against scikit-learn's neighbours and closed forms."""

import numpy as np
import pytest
import torch
from real_features import MadeUp, features
from sklearn.neighbors import NearestNeighbors

from gensweep.metrics.metric import METRICS
from gensweep.metrics.real import spread

KINDS = ["precision", "recall", "density", "coverage"]


def scored(kind: str, real: torch.Tensor, generated: torch.Tensor) -> float:
    metric = METRICS[kind](MadeUp(real))
    metric.update(generated)
    return metric.compute()


def by_sklearn(kind: str, real: np.ndarray, generated: np.ndarray) -> float:
    """The four as their papers define them."""
    k = 3 if kind in ("precision", "recall") else 5

    def radii(x: np.ndarray) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k).fit(x).kneighbors()[0][:, -1]

    def inside(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
        distances = np.linalg.norm(points[:, None] - centres[None], axis=-1)
        return distances <= radii(centres)

    match kind:
        case "precision":
            return float(inside(generated, real).any(1).mean())
        case "recall":
            return float(inside(real, generated).any(1).mean())
        case "density":
            return float(inside(generated, real).sum() / (k * len(generated)))
        case _:
            return float(inside(generated, real).any(0).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_equals_scikit_learns_neighbours(kind: str):
    real, generated = features(90, 5, 1), features(90, 5, 4) * 0.8
    expected = by_sklearn(kind, real.double().numpy(), generated.double().numpy())
    assert 0.2 < expected < 1.5
    assert scored(kind, real, generated) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_real_images_are_looked_at_as_there_are_generated_ones(kind: str):
    real, generated = features(200, 5, 1), features(80, 5, 4)
    evenly = real[spread(200, 80)]
    assert scored(kind, real, generated) == scored(kind, evenly, generated)


def test_equal_distributions_score_as_in_closed_form():
    """Naeem et al. 2020, section 3.3: E density = 1, and E coverage = 1 - (n-1)...(n-k) / ((2n-1)...(2n-k))."""
    n, k = 200, 5
    i = np.arange(1, k + 1)
    expected = 1 - np.prod((n - i) / (2 * n - i))
    draws = [(torch.randn(n, 6), torch.randn(n, 6)) for _ in range(30)]
    density = torch.tensor([scored("density", *draw) for draw in draws])
    coverage = torch.tensor([scored("coverage", *draw) for draw in draws])
    assert abs(density.mean() - 1) < 4 * density.std() / 30**0.5
    assert abs(coverage.mean() - expected) < 4 * coverage.std() / 30**0.5
    assert expected == pytest.approx(31 / 32, abs=0.003)


def test_collapse_costs_recall_and_blur_precision():
    real = features(300, 6, 1)
    collapsed, blurred = features(300, 6, 0) * 0.01 + real[0], real + 8 * torch.randn(300, 6)
    assert scored("precision", real, collapsed) > 0.9
    assert scored("recall", real, collapsed) < 0.05
    assert scored("coverage", real, collapsed) < 0.1
    assert scored("precision", real, blurred) < 0.3
    assert scored("density", real, blurred) < 0.3
