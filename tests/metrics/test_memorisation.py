"""Copies of training images: AuthPct against scikit-learn's neighbours, and copies that were planted."""

from pathlib import Path

import numpy as np
import pytest
import torch
from real_features import MadeUp, features
from sklearn.neighbors import NearestNeighbors

from gensweep.metrics.memorisation import AuthenticShare


def looked_at(real: torch.Tensor, generated: torch.Tensor) -> AuthenticShare:
    metric = AuthenticShare(MadeUp(real))
    for batch in generated.split(37):
        metric.update(batch)
    return metric


def test_equals_scikit_learns_neighbours():
    real, generated = features(300, 10, 1), features(200, 10, 4)
    neighbours = NearestNeighbors(n_neighbors=1).fit(real.double().numpy())
    distance, position = (found[:, 0] for found in neighbours.kneighbors(generated.double().numpy()))
    among = neighbours.kneighbors()[0][:, 0]
    metric = looked_at(real, generated)
    assert metric.compute() == pytest.approx(100 * np.mean(distance > among[position]), abs=1e-9)
    assert 20 < metric.compute() < 100
    near = max(np.sort(among)[round(0.01 * len(among)) - 1], 0.01 * np.median(among))
    assert metric.details["memorised"] == np.mean(distance <= near)
    indices, originals = metric.suspects(5)
    assert indices.tolist() == np.argsort(distance)[:5].tolist()
    assert originals[:, 0, 0, 0].tolist() == (position[indices] % 256).tolist()


def test_planted_copies_are_caught_and_named_first():
    real, generated = features(400, 16, 1), features(200, 16, 7) - 0.6
    clean = looked_at(real, generated)
    generated[[13, 77, 150]] = real[[5, 6, 399]] + 1e-4
    caught = looked_at(real, generated)
    before, after = clean.compute(), caught.compute()
    assert after < before
    assert clean.details["memorised"] < 0.05
    assert caught.details["memorised"] == pytest.approx(clean.details["memorised"] + 3 / 200, abs=1e-9)
    indices, originals = caught.suspects(3)
    assert sorted(indices.tolist()) == [13, 77, 150]
    assert dict(zip(indices.tolist(), originals[:, 0, 0, 0].tolist(), strict=True)) == {13: 5, 77: 6, 150: 399 % 256}


def test_training_images_score_0_and_fresh_ones_more_than_half():
    real = features(2000, 12, 1)
    metric = looked_at(real, real)
    assert metric.compute() == 0
    assert metric.details["memorised"] == 1
    fresh = looked_at(real, features(2000, 12, 3) - 0.2)
    assert 50 < fresh.compute() < 80
    assert fresh.details["memorised"] < 0.03


def test_twins_among_the_training_images_hide_no_copy():
    real = features(200, 12, 1)
    real[1:50:2] = real[:50:2]
    metric = looked_at(real, torch.cat([real[:1] + 1e-6, features(49, 12, 5)]))
    metric.compute()
    assert metric.details["memorised"] == 1 / 50


def test_an_evaluation_draws_the_suspects_beside_their_originals(tmp_path: Path):
    import tiny
    from PIL import Image

    from gensweep.training.evaluation import evaluate_images
    from gensweep.training.result_files import SUSPECTS_COLUMNS, write_grid

    evaluator, real = tiny.evaluator(names=("authpct",)), tiny.images().pixels
    drawn = 255 - real[:20]
    drawn[11] = real[30]
    verdict = evaluate_images(evaluator, lambda indices: drawn[indices], torch.device("cpu"))
    assert torch.equal(verdict.suspects[0], real[30])
    assert verdict.suspects[1, 0, 0, 0] == 30  # as `MadeUp` paints its pixels
    assert verdict.signals["authpct/memorised"] >= 1 / 20
    write_grid(verdict.suspects, tmp_path / "suspects.png", SUSPECTS_COLUMNS)
    with Image.open(tmp_path / "suspects.png") as picture:
        assert picture.size == (8 * 68, 4 * 68)
