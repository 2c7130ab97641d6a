"""Does the 95 % interval of a Frechet distance hold the truth in 95 of 100 cases?  Counted where the truth is known.

    .venv/bin/python benchmarks/interval_coverage.py
    .venv/bin/python benchmarks/interval_coverage.py --features 256 --images 1000
    .venv/bin/python benchmarks/interval_coverage.py --only clusters --images 300
    .venv/bin/python benchmarks/interval_coverage.py --digits --images 300 --classical 3
    .venv/bin/python benchmarks/interval_coverage.py --real horse deer --repeats 100         of CIFAR-10
    .venv/bin/python benchmarks/interval_coverage.py --differences --images 300
    .venv/bin/python benchmarks/interval_coverage.py --few-directions --images 200 --repeats 300
    .venv/bin/python benchmarks/interval_coverage.py --few-directions --labels "in turns" --images 200 --repeats 300

Made-up features are a matrix times independent numbers: normal ones, ones that are mostly 0 as features after a ReLU
are, or normal ones with a scale for each image.  Their distribution is that of the reference, or narrower and moved, or
turned against it.  Clustered features are normal ones around ten centres, through a ReLU: like the reference, narrower
and moved, with one cluster fewer, and around other centres.  With --real the features are those of EfficientNet-Lite0
of two classes of CIFAR-10, or of digits: an image's features are those of two real ones (of one class), mixed, so that
mean and covariance of the endless population are known.

With --few-directions most of the variance is in a few directions, as it is between classes: 16 features of ten
clusters three standard deviations apart, 48 of digits, and 16 normal ones.  With --labels "in turns" the images of a
class-conditional model come from the classes in turns instead of at random, as they did in earlier versions; they are
not independent then, and the interval does not hold.

Prints for each case the truth, what the plain distance is too large by, the bias that three corrections leave (the
first order of 1 / n; a line over 1 / n, known as FD-infinity; and the one in use), the standard deviation of the last,
the error that the interval claims, how often it held the truth, and how often it lay above or below that.  Writes
benchmarks/results/interval_coverage-DATE-PROCESSOR-SETTINGS.json.

With --differences two models of clustered features, moved a little, draw their images from the same noise: how often
does the interval of the difference of their distances hold it, and how often do 1.96 standard errors of it?
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import click
import torch
import torch.nn.functional as F
from classical_bias import extrapolated_distance, first_order_bias
from dated_results import write_result
from few_directions import CLUSTERS, Case, few_directions, rectified_moments
from torch import Tensor

from gensweep.data.images import DATASETS
from gensweep.files import cache_folder
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.real import Real
from gensweep.metrics.uncertainty import Estimate, Target, estimate_distance
from gensweep.results import STANDARD_ERRORS
from gensweep.verdict.ties import IntervalEstimate, difference_interval

#: Standard deviation of the noise in noisy digits, of 255 levels.
NOISE_LEVELS = 30.0
MISSING_DIGIT = 7
KINDS = ("normal", "mostly zero", "own scales")
HEADS = ("truth", "excess", "1st order", "line", "bias left", "scatter", "error", "covered", "above", "below")
#: Standard deviation of the centres of clusters, for a deviation of 1 within a cluster.
CLUSTER_DISTANCE = 2.0


@dataclass(frozen=True)
class Row:
    """What came of one case."""

    case: str
    features: int
    images: int
    repeats: int
    truth: float
    excess: float
    first_order: float
    line: float
    bias: float
    scatter: float
    error: float
    covered: float
    above: float
    below: float


def independent(kind: str, n: int, d: int, generator: torch.Generator) -> Tensor:
    """Numbers with mean 0 and variance 1."""
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    if kind == "mostly zero":
        return (z.clamp(min=0) - 1 / math.sqrt(2 * math.pi)) / math.sqrt(0.5 - 0.5 / math.pi)
    if kind == "own scales":
        scale = torch.randn(n, 8, generator=generator, dtype=torch.float64).square().mean(1, keepdim=True)
        return z * scale.sqrt()
    return z


def made_up(d: int) -> Iterator[Case]:
    """Three kinds of numbers, each like the reference, narrower than it, and turned against it."""
    decaying = 10 / torch.arange(1, d + 1, dtype=torch.float64)
    random = torch.randn(d, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    turn = torch.linalg.qr(random)[0]
    moved, zero, one = torch.full((d,), 0.5 / math.sqrt(d), dtype=torch.float64), torch.zeros(d).double(), torch.ones(d)
    for kind in KINDS:
        for name, spectrum, target in (
            ("alike", one.double(), Target(zero, one.double().diag())),
            ("narrower", decaying, Target(moved, (1.5 * decaying).diag())),
            ("turned", decaying, Target(moved, (turn * decaying) @ turn.T)),
        ):

            def draw(n: int, generator: torch.Generator, kind: str = kind, spectrum: Tensor = spectrum) -> Tensor:
                return independent(kind, n, d, generator) * spectrum.sqrt()

            yield Case(f"{name}, {kind}", draw, zero, spectrum.diag(), target)


def clustered(d: int) -> Iterator[Case]:
    """Ten clusters through a ReLU, against four references."""
    generator = torch.Generator().manual_seed(0)
    centres, others = CLUSTER_DISTANCE * torch.randn(2, CLUSTERS, d, generator=generator, dtype=torch.float64)
    mean, covariance = rectified_moments(centres)
    moved = 0.5 * (covariance.trace() / d).sqrt() / math.sqrt(d)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        cluster = torch.randint(CLUSTERS, (n,), generator=generator)
        return (centres[cluster] + torch.randn(n, d, generator=generator, dtype=torch.float64)).clamp(min=0)

    for name, target in (
        ("alike", Target(mean, covariance)),
        ("narrower", Target(mean + moved, 1.5 * covariance)),
        ("one more cluster", Target(*rectified_moments(torch.cat([centres, others[:1]])))),
        ("other clusters", Target(*rectified_moments(others))),
    ):
        yield Case(f"{name}, clusters", draw, mean, covariance, target)


def real(first: str, second: str) -> Iterator[Case]:
    """A class of CIFAR-10 against itself, the same with a fifth of another image mixed in, and a second class."""
    extractor = EXTRACTORS["efficientnet_lite0"]("cpu", cache_folder(), resolution=64)
    features = {}
    for name in (first, second):
        images = DATASETS["cifar10"]("train", cache_folder(), classes=(name,))
        features[name] = Real(images, extractor, cache_folder()).features.double()
    reference = features[first]
    target = Target(reference.mean(0), reference.T.cov())
    large, small = math.cos(0.3), math.sin(0.3)
    mixed = 0.8 * reference + 0.2 * reference.roll(7, 0)
    for name, population in ((first, reference), (f"mixed {first}", mixed), (second, features[second])):
        mean = population.mean(0)
        rows = population - mean

        def draw(n: int, generator: torch.Generator, mean: Tensor = mean, rows: Tensor = rows) -> Tensor:
            i, j = torch.randint(len(rows), (2, n), generator=generator)
            return mean + large * rows[i] + small * rows[j]

        yield Case(f"{name} against {first}", draw, mean, rows.T @ rows / len(rows), target)


def digits() -> Iterator[Case]:
    """The quickstart's digits, the same with noise, blurred, and without one class, against them: ten real clusters."""
    extractor = EXTRACTORS["efficientnet_lite0"]("cpu", cache_folder())
    images = DATASETS["digits"]("train", cache_folder(), size=16)
    pixels = images.pixels.float()
    noise = NOISE_LEVELS * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    blurred = F.avg_pool2d(pixels, 3, stride=1, padding=1)
    as_they_are, noisy, blurry = (seen_by(extractor, each) for each in (pixels, pixels + noise, blurred))
    kept = images.labels != MISSING_DIGIT
    reference = ClassMixture(as_they_are, images.labels)
    target = Target(reference.mean, reference.covariance)
    for name, population in (
        ("digits", reference),
        ("digits with noise", ClassMixture(noisy, images.labels)),
        ("blurred digits", ClassMixture(blurry, images.labels)),
        (f"digits without {MISSING_DIGIT}", ClassMixture(as_they_are[kept], images.labels[kept])),
    ):
        yield Case(f"{name} against digits", population.draw, population.mean, population.covariance, target)


def seen_by(extractor: Extractor, pixels: Tensor) -> Tensor:
    """The features of images in 0..255."""
    batches = pixels.clamp(0, 255).round().to(torch.uint8).split(128)
    return torch.cat([extractor(batch) for batch in batches]).double()


class ClassMixture:
    """Features of two real images of one class, mixed: endless ones with the mean and covariance of the real ones."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        order = labels.argsort()
        features, labels = features[order], labels[order]
        _, self._class, self._counts = labels.unique(return_inverse=True, return_counts=True)
        self._starts = self._counts.cumsum(0) - self._counts
        means = torch.stack([rows.mean(0) for rows in features.split(self._counts.tolist())])
        self._centres, self._rests = means[self._class], features - means[self._class]
        self.mean, self.covariance = features.mean(0), features.T.cov(correction=0)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """The features of n images."""
        first = torch.randint(len(self._rests), (n,), generator=generator)
        cluster = self._class[first]
        second = self._starts[cluster] + (torch.rand(n, generator=generator) * self._counts[cluster]).long()
        return self._centres[first] + math.cos(0.3) * self._rests[first] + math.sin(0.3) * self._rests[second]


#: How far the centres of two models lie from those of the reference, in standard deviations within a cluster.
SHIFTS = ((0.0, 0.3), (0.5, 0.6), (0.3, -0.3))


def differences(d: int, images: int, repeats: int) -> Iterator[dict[str, Any]]:
    """How often the interval of the difference of two distances holds it, a row a pair of models and of noises."""
    centres = CLUSTER_DISTANCE * torch.randn(
        CLUSTERS, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    target, reference = Target(*rectified_moments(centres)), rectified_moments(centres)

    def estimate(shift: float, generator: torch.Generator) -> Estimate:
        cluster = torch.randint(CLUSTERS, (images,), generator=generator)
        noise = torch.randn(images, d, generator=generator, dtype=torch.float64)
        return estimate_distance((centres[cluster] + shift + noise).clamp(min=0), target)

    for first, second in SHIFTS:
        ends = [frechet_distance(*rectified_moments(centres + shift), *reference) for shift in (first, second)]
        truth = ends[1] - ends[0]
        for noise in ("the same", "other"):
            held = symmetric = 0
            for repeat in range(repeats):
                seeds = (repeat, repeat if noise == "the same" else repeats + repeat)
                a, b = (
                    estimate(shift, torch.Generator().manual_seed(seed))
                    for shift, seed in zip((first, second), seeds, strict=True)
                )
                alike = float(torch.corrcoef(torch.stack([a.influences, b.influences]))[0, 1])
                alike = alike if noise == "the same" else 0.0
                low, high = difference_interval(*(IntervalEstimate(e.corrected, e.low, e.high) for e in (b, a)), alike)
                error = math.sqrt(a.error**2 + b.error**2 - 2 * alike * a.error * b.error)
                held += low <= truth <= high
                symmetric += abs(b.corrected - a.corrected - truth) <= STANDARD_ERRORS * error
            shares = {"covered": 100 * held / repeats, "symmetric": 100 * symmetric / repeats}
            case = f"moved by {first:g} and {second:g}, {noise} noise"
            yield {"case": case, "features": d, "images": images, "repeats": repeats, "truth": truth, **shares}


def without_ours(x: Tensor, target: Target) -> tuple[float, float, float]:
    """The plain distance, less the first order of its bias, and by a line over 1 / n."""
    covariance = x.T.cov()
    plain = frechet_distance(x.mean(0), covariance, target.mean, target.covariance)
    sizes = range(len(x) // 2, len(x) + 1, len(x) // 10)
    line = extrapolated_distance(x, target, sizes=sizes, generator=torch.Generator().manual_seed(0))
    return plain, plain - first_order_bias(covariance, target, len(x)), line


def measure(case: Case, images: int, repeats: int, classical_repeats: int) -> Row:
    """Draw again and again, and count how often the interval holds the truth."""
    target, generator = case.target, torch.Generator().manual_seed(0)
    truth = frechet_distance(case.mean, case.covariance, target.mean, target.covariance)
    classical, found = [], []
    for repeat in range(repeats):
        x = case.draw(images, generator)
        if repeat < classical_repeats:
            classical.append(without_ours(x, target))
        found.append(estimate_distance(x, target))
    plain, first_order, line = (sum(values) / len(values) - truth for values in zip(*classical, strict=True))
    corrected = torch.tensor([estimate.corrected for estimate in found], dtype=torch.float64)
    error = math.sqrt(sum(estimate.error**2 for estimate in found) / repeats)
    above, below = (sum(misses) for misses in zip(*[(e.low > truth, e.high < truth) for e in found], strict=True))
    return Row(
        case=case.name,
        features=len(target.mean),
        images=images,
        repeats=repeats,
        truth=truth,
        excess=plain,
        first_order=first_order,
        line=line,
        bias=float(corrected.mean()) - truth,
        scatter=float(corrected.std()),
        error=error,
        covered=100 - 100 * (above + below) / repeats,
        above=100 * above / repeats,
        below=100 * below / repeats,
    )


@click.command()
@click.option("--features", type=click.IntRange(8), default=64, show_default=True)
@click.option("--images", type=click.IntRange(20), default=500, show_default=True)
@click.option("--repeats", type=click.IntRange(5), default=500, show_default=True)
@click.option("--real", "classes", nargs=2, help="1,280 features of two classes of CIFAR-10 instead of made-up ones.")
@click.option("--digits", "of_digits", is_flag=True, help="1,280 features of the quickstart's digits instead.")
@click.option(
    "--classical",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="In so many of the repeats the two classical corrections are looked at.",
)
@click.option("--only", default="", help="Only cases with this in their name, such as clusters.")
@click.option("--differences", "of_pairs", is_flag=True, help="Differences of two models' distances instead.")
@click.option("--few-directions", "few", is_flag=True, help="Clusters, digits and normal features instead.")
@click.option("--labels", type=click.Choice(["sampled", "in turns"]), default="sampled", help="With --few-directions.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(
    features: int,
    images: int,
    repeats: int,
    classes: tuple[str, str] | None,
    of_digits: bool,
    classical: int,
    only: str,
    of_pairs: bool,
    few: bool,
    labels: str,
    threads: int,
) -> None:
    """Count how often the interval holds the truth."""
    torch.set_num_threads(threads)
    rows = list[dict[str, Any]]()
    if of_pairs:
        for pair in differences(features, images, repeats):
            click.echo(f"{pair['case']:<40}{pair['truth']:11.3f}{pair['covered']:9.1f} %{pair['symmetric']:9.1f} %")
            rows.append(pair)
        write_result("interval_coverage", f"{features}-{images}-differences", rows=rows)
        return
    click.echo(f"{'case':<28}" + "".join(f"{head:>11}" for head in HEADS))
    if of_digits:
        cases, what = digits(), ["digits"]
    elif few:
        cases, what = few_directions(labels == "in turns"), ["few-directions", *labels.split()]
    elif classes:
        cases, what = real(*classes), list(classes)
    else:
        cases, what = chain(clustered(features), made_up(features)), [str(features)]
    for case in (each for each in cases if only in each.name):
        row = measure(case, images, repeats, classical)
        numbers = (row.truth, row.excess, row.first_order, row.line, row.bias, row.scatter, row.error)
        shares = (row.covered, row.above, row.below)
        words = [f"{value:11.3f}" for value in numbers] + [f"{value:9.1f} %" for value in shares]
        click.echo(f"{row.case:<28}" + "".join(words))
        rows.append(asdict(row))
    write_result("interval_coverage", "-".join([*what, str(images), *only.split()]), rows=rows)


if __name__ == "__main__":
    main()
