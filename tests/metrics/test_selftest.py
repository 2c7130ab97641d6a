from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from sklearn.datasets import load_digits

from gensweep.metrics.efficientnet import efficientnet_lite0
from gensweep.metrics.selftest import Check, check_distance, check_extractor


class Digits(NamedTuple):
    pixels: torch.Tensor
    name: str = "digits"
    fingerprint: str = "abc123"


@pytest.mark.parametrize("check", check_distance(), ids=lambda check: check.name)
def test_known_distances_are_found(check: Check):
    assert check.passed, check


def test_the_embedded_extractor_tells_digits_from_noise():
    images = torch.from_numpy(load_digits().images[:64] * 15).to(torch.uint8)[:, None]
    checks = check_extractor(efficientnet_lite0("cpu", Path(), resolution=64), Digits(images))
    assert all(check.passed for check in checks), checks


def test_nan_never_passes():
    assert not Check("broken", 1.0, float("nan"), 1.0).passed
    assert not Check("broken", 1.0, float("nan"), None).passed
