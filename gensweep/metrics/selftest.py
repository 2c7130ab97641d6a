"""Known answers: does the distance, and an extractor, work on this machine?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from gensweep.metrics.bias import extrapolated_distance, first_order_bias
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.metric import FrechetDistance
from gensweep.metrics.moments import Moments
from gensweep.metrics.uncertainty import Target, estimate_distance

__all__ = ["Check", "check_correction", "check_distance", "check_extractor", "selftest"]


@dataclass(frozen=True)
class Check:
    """One known answer; it holds if `actual` is within `tolerance` of `expected`, or at least `expected` if None."""

    name: str
    expected: float
    actual: float
    tolerance: float | None

    @property
    def passed(self) -> bool:
        """Whether the answer is right; NaN never is."""
        if self.tolerance is None:
            return self.actual >= self.expected
        return abs(self.actual - self.expected) <= self.tolerance


def selftest() -> list[Check]:
    """All known answers: the distance, what few images do to it, and the embedded extractor on scikit-learn's digits.

    Takes a few seconds.
    """
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().images[:128] * 15).to(torch.uint8)[:, None]
    extractor = EXTRACTORS["efficientnet_lite0"]("cpu", Path())
    return [*check_distance(), *check_correction(), *check_extractor(extractor, digits, "digits")]


def check_distance() -> list[Check]:
    """Frechet distances of Gaussians whose answer is known, among them one through the whole metric."""
    stretched = torch.tensor([1.0, 4.0], dtype=torch.float64).diag()
    turned = torch.tensor([4.0, 1.0], dtype=torch.float64).diag()
    d = 64
    unit, zero = torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
    flat = torch.zeros(d, d, dtype=torch.float64)
    flat[0, 0] = 9.0
    return [
        Check("diag(1, 4) against diag(4, 1)", 2.0, frechet_distance(zero[:2], stretched, zero[:2], turned), 1e-9),
        Check(f"N(0, I) against N(0, 4 I), {d} features", float(d), frechet_distance(zero, unit, zero, 4 * unit), 1e-9),
        Check(f"N(0, I) against N(1, I), {d} features", float(d), frechet_distance(zero, unit, zero + 1, unit), 1e-9),
        Check("a flat Gaussian against itself", 0.0, frechet_distance(zero, flat, zero, flat), 1e-9),
        Check("features moved by 3 along 16 axes, streamed", 144.0, _moved_features(), 1e-6),
    ]


def check_correction() -> list[Check]:
    """The distance of 1,000 images to their own distribution, which is 0, found in three ways that share no step."""
    n, d, generator = 1000, 64, torch.Generator().manual_seed(0)
    target = Target(torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64))
    features = torch.randn(n, d, generator=generator, dtype=torch.float64)
    moments = Moments.of(features)
    plain = frechet_distance(moments.mean, moments.covariance, target.mean, target.covariance)
    estimate = estimate_distance(features, target)
    line = extrapolated_distance(features, target, sizes=range(300, n + 1, 100), generator=generator)
    excess = first_order_bias(target.covariance, target, n)
    alike = f"{n:,} images of N(0, I) against it, {d} features"
    return [
        Check(f"{alike}: too large by the first order of 1 / n", excess, plain, excess / 8),
        Check(f"{alike}, without bias", 0.0, estimate.corrected, 4 * estimate.error),
        Check(f"{alike}, by a line over 1 / n (FD-infinity)", estimate.corrected, line, excess / 4),
    ]


def _moved_features() -> float:
    features = torch.randn(500, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    metric = FrechetDistance(Moments.of(features))
    for batch in torch.split(features + 3, 77):
        metric.update(batch)
    return metric.compute()


def check_extractor(extractor: Extractor, images: UInt8[Tensor, "n c h w"], name: str) -> list[Check]:
    """Does the extractor tell real images from noise, better than it tells every second one from the others?"""
    noise = torch.randint(0, 256, images[1::2].shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    real, others = _moments(extractor, images[0::2]), _moments(extractor, images[1::2])
    alike, apart = _distance(real, others), _distance(real, _moments(extractor, noise))
    rounding = 1e-6 * float(real.covariance.trace())
    return [
        Check(f"{extractor.title}: {name} against themselves", 0.0, _distance(real, real), rounding),
        Check(f"{extractor.title}: noise is at least 3 times as far from {name} as others", 3.0, apart / alike, None),
    ]


def _moments(extractor: Extractor, pixels: UInt8[Tensor, "n c h w"]) -> Moments:
    device = next(extractor.parameters()).device
    moments = Moments(extractor.num_features)
    for batch in torch.split(pixels, 64):
        moments.update(extractor(batch.to(device)))
    return moments


def _distance(a: Moments, b: Moments) -> float:
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
