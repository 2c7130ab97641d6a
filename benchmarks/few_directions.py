"""Features with most of their variance in a few directions, as between classes, for `interval_coverage.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gensweep.data.images import DATASETS
from gensweep.files import cache_folder
from gensweep.metrics.uncertainty import Target

CLUSTERS = 10
DIMENSIONS = 16
#: Standard deviation of the centres of clusters, for a deviation of 1 within a cluster.
FAR_CLUSTER_DISTANCE = 3.0
#: Images from which the moments of mapped clusters are known; two such samples have a distance below 1e-4.
MOMENT_IMAGES = 1_000_000
DIGIT_FEATURES = 48


@dataclass(frozen=True)
class Case:
    """A sampler of images, their mean and covariance in the limit of many, and the reference."""

    name: str
    draw: Callable[[int, torch.Generator], Tensor]
    mean: Tensor
    covariance: Tensor
    target: Target


def rectified_moments(centres: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of max(0, z) for z ~ N(c, I) with a centre c drawn from the rows."""
    density = torch.exp(-centres.square() / 2) / math.sqrt(2 * math.pi)
    below = torch.special.ndtr(centres)
    means = centres * below + density
    squares = (centres.square() + 1) * below + centres * density
    return means.mean(0), means.T.cov(correction=0) + (squares - means.square()).mean(0).diag()


def few_directions(in_turns: bool) -> Iterator[Case]:
    """Clusters, digits and normal features, like the reference and a little unlike it."""

    def classes(n: int, generator: torch.Generator) -> Tensor:
        return torch.arange(n) % CLUSTERS if in_turns else torch.randint(CLUSTERS, (n,), generator=generator)

    for name, seed, mapped in (("clusters", 0, False), ("mapped clusters", 1, True)):
        generator = torch.Generator().manual_seed(seed)
        centres = FAR_CLUSTER_DISTANCE * normal(CLUSTERS, generator)
        mapping = normal(DIMENSIONS, generator) / math.sqrt(DIMENSIONS) if mapped else None

        def draw(
            n: int, generator: torch.Generator, centres: Tensor = centres, mapping: Tensor | None = mapping
        ) -> Tensor:
            x = centres[classes(n, generator)] + normal(n, generator)
            return (x if mapping is None else x @ mapping).clamp(min=0)

        if mapped:
            x = draw(MOMENT_IMAGES, torch.Generator().manual_seed(99))
            mean, covariance = x.mean(0), x.T.cov(correction=0)
        else:
            mean, covariance = rectified_moments(centres)
        yield Case(f"{name} alike", draw, mean, covariance, Target(mean, covariance))
        yield Case(f"{name} moved", draw, mean, covariance, Target(mean + 0.1, 1.1 * covariance))
    images = DATASETS["digits"]("train", cache_folder(), size=8)
    weights = torch.randn(64, DIGIT_FEATURES, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2
    pixels = images.pixels.flatten(1).double() / 255
    features = ((pixels - pixels.mean(0)) @ weights).clamp(min=0)
    by_class = [features[images.labels == label] for label in range(CLUSTERS)]
    counts = torch.tensor([len(rows) for rows in by_class])
    starts, ordered = counts.cumsum(0) - counts, torch.cat(by_class)

    def digits_drawn(n: int, generator: torch.Generator) -> Tensor:
        if not in_turns:
            return ordered[torch.randint(len(ordered), (n,), generator=generator)]
        label = classes(n, generator)
        return ordered[starts[label] + (torch.rand(n, generator=generator) * counts[label]).long()]

    mean, covariance = ordered.mean(0), ordered.T.cov(correction=0)
    yield Case("digits alike", digits_drawn, mean, covariance, Target(mean, covariance))
    yield Case("digits moved", digits_drawn, mean, covariance, Target(mean + 0.02, 1.05 * covariance))
    zero, one = torch.zeros(DIMENSIONS).double(), torch.eye(DIMENSIONS).double()
    yield Case("normal alike", normal, zero, one, Target(zero, one))
    yield Case("normal moved", normal, zero, one, Target(zero + 0.05, 1.1 * one))


def normal(n: int, generator: torch.Generator) -> Tensor:
    """Standard normal features."""
    return torch.randn(n, DIMENSIONS, generator=generator, dtype=torch.float64)
