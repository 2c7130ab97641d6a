"""Known answers: does the distance, and an extractor, work on this machine?

Two classical estimates of the bias of few images check that of `uncertainty`.  Shapes: n images, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from gensweep.errors import GensweepError
from gensweep.metrics.extractors import EXTRACTORS
from gensweep.metrics.frechet import factor, frechet_distance
from gensweep.metrics.metric import FrechetDistance
from gensweep.metrics.moments import Moments
from gensweep.metrics.uncertainty import Target, estimate_distance


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
    return [*_check_distance(), *_check_correction(), *_check_extractor()]


def _check_distance() -> list[Check]:
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


def _check_correction() -> list[Check]:
    """The distance of 1,000 images to their own distribution, which is 0, found in three ways that share no step."""
    n, d, generator = 1000, 64, torch.Generator().manual_seed(0)
    target = Target(torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64))
    features = torch.randn(n, d, generator=generator, dtype=torch.float64)
    plain = _distance(Moments.of(features), target)
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


def _check_extractor() -> list[Check]:
    """Does the extractor tell digits from noise, better than it tells every second digit from the others?"""
    from sklearn.datasets import load_digits

    digits = torch.from_numpy(load_digits().images[:128] * 15).to(torch.uint8)[:, None]
    noise = torch.randint(0, 256, digits[1::2].shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    extractor = EXTRACTORS["efficientnet_lite0"]("cpu", Path())
    real, others, unlike = (Moments.of(extractor(pixels)) for pixels in (digits[0::2], digits[1::2], noise))
    alike, apart = _distance(real, others), _distance(real, unlike)
    rounding = 1e-6 * float(real.covariance.trace())
    return [
        Check(f"{extractor.title}: digits against themselves", 0.0, _distance(real, real), rounding),
        Check(f"{extractor.title}: noise is at least 3 times as far from digits as others", 3.0, apart / alike, None),
    ]


def _distance(a: Moments, b: Moments | Target) -> float:
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def first_order_bias(covariance: Float64[Tensor, "d d"], target: Target, n: int) -> float:
    """The expected excess of the distance from n normal features with this covariance, to first order in 1 / n.

    1/n [Tr S + 1/2 sum_ij s_i s_j / (s_i + s_j) + 1/4 sum_i s_i], where s_i^2 are the eigenvalues of L^T S L: the
    second derivative of Tr (L^T S L)^1/2 on the covariance of a Wishart matrix.
    """
    s = torch.linalg.svdvals(target.factor.T @ factor(covariance))
    s = s[s > 0]
    pairs = (s[:, None] * s / (s[:, None] + s)).sum()
    return float(covariance.trace() + pairs / 2 + s.sum() / 4) / n


def extrapolated_distance(
    features: Float[Tensor, "n d"], target: Target, *, sizes: Sequence[int], generator: torch.Generator
) -> float:
    """FD-infinity: distances of random subsets of these sizes, as a line over 1 / size, read off at 0.

    Raises GensweepError for fewer than two sizes.  Source: Chong & Forsyth 2020, section 4.
    """
    if len(set(sizes)) < 2:
        raise GensweepError(f"a line needs at least 2 sizes of subsets, but got {list(sizes)}")
    distances = []
    for size in sizes:
        chosen = torch.randperm(len(features), generator=generator)[:size]
        distances.append(_distance(Moments.of(features[chosen]), target))
    inverse = 1 / torch.tensor(sizes, dtype=torch.float64)
    line = torch.linalg.lstsq(
        torch.stack([torch.ones_like(inverse), inverse], 1), torch.tensor(distances)[:, None].double()
    )
    return float(line.solution[0, 0])
