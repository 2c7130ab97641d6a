"""The FID update and distance of gensweep against pytorch-ignite's own, on the same features in one run.

    .venv/bin/python benchmarks/fid_update.py
    .venv/bin/python benchmarks/fid_update.py --features 2048 --images 512 --rounds 5 --threads 1

Update: each contender takes in batches of generated features, float32, at gensweep's default batch.  ignite's own
(`ignite.metrics.FID` with an identity as extractor) wants as many real ones beside them in every update, and does one
outer product for each; the JSON also holds the ratio per feature vector, as if only the half of its time counted.
Distance: both get the same means and covariances of the same random features; ignite's is
`ignite.metrics.gan.fid.fid_score`, with scipy's square root of a matrix.  Contenders take turns, the least time of all
rounds is reported, and the numbers that both compute must agree to 1e-6, or the script ends with an error.

Prints a table and writes benchmarks/results/fid_update-DATE-PROCESSOR.json.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import click
import torch
from dated_results import write_result
from torch import Tensor, nn

from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.metric import FrechetDistance
from gensweep.metrics.moments import Moments
from gensweep.metrics.statistics import Statistics

AGREEMENT = 1e-6


def least_seconds(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least wall time of each contender; they take turns."""
    least = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def random_features(n: int, d: int, seed: int) -> Tensor:
    """Correlated non-negative features with a decaying spectrum, as a network's pooled activations have."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, d, generator=generator) * torch.logspace(0, -2, d)
    mixing = torch.randn(d, d, generator=torch.Generator().manual_seed(0)) / d**0.5
    return (latent @ mixing + 0.1 + 0.02 * seed).relu()


def benchmark_update(d: int, images: int, batch: int, rounds: int) -> dict[str, Any]:
    """Milliseconds an image to take in generated features, and how far the moments are from each other."""
    from ignite.metrics import FID

    real, generated = random_features(images, d, 1), random_features(images, d, 2)
    theirs = FID(num_features=d, feature_extractor=nn.Identity())
    ours = FrechetDistance(Statistics("", Moments.of(real)))

    def update_theirs() -> None:
        theirs.reset()
        for r, g in zip(real.split(batch), generated.split(batch), strict=True):
            theirs.update((r, g))

    def update_ours() -> None:
        ours.reset()
        for g in generated.split(batch):
            ours.update(g)

    seconds = least_seconds({"gensweep": update_ours, "ignite": update_theirs}, rounds)
    moments = (theirs._test_total / images, theirs._get_covariance(theirs._test_sigma, theirs._test_total))
    expected = Moments(d, state=ours._state)
    off = max(
        float((moments[0] - expected.mean).norm() / expected.mean.norm()),
        float((moments[1] - expected.covariance).norm() / expected.covariance.norm()),
    )
    return {
        "what": "update",
        "features": d,
        "unit": "ms an image",
        "gensweep": 1e3 * seconds["gensweep"] / images,
        "ignite": 1e3 * seconds["ignite"] / images,
        "ratio": seconds["ignite"] / seconds["gensweep"],
        "ratio_per_feature_vector": seconds["ignite"] / 2 / seconds["gensweep"],
        "disagreement": off,
    }


def benchmark_distance(d: int, rounds: int) -> dict[str, Any]:
    """Seconds a distance from given moments, and the relative difference of the two answers."""
    from ignite.metrics.gan.fid import fid_score

    a, b = (Moments.of(random_features(2 * d, d, seed)) for seed in (1, 2))
    m1, s1, m2, s2 = a.mean, a.covariance, b.mean, b.covariance
    answers: dict[str, float] = {}

    def distance_ours() -> None:
        answers["gensweep"] = frechet_distance(m1, s1, m2, s2)

    def distance_theirs() -> None:
        answers["ignite"] = float(fid_score(mu1=m1, mu2=m2, sigma1=s1, sigma2=s2))

    seconds = least_seconds({"gensweep": distance_ours, "ignite": distance_theirs}, rounds)
    return {
        "what": "distance",
        "features": d,
        "unit": "s",
        **seconds,
        "ratio": seconds["ignite"] / seconds["gensweep"],
        "disagreement": abs(answers["gensweep"] / answers["ignite"] - 1),
    }


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--features", type=int, multiple=True, default=(1280, 2048), show_default=True, help="May be repeated.")
@click.option("--images", type=click.IntRange(2), default=512, show_default=True, help="Generated images an update.")
@click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Images a batch.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Of each update; one distance.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of torch.")
def main(features: tuple[int, ...], images: int, batch: int, rounds: int, threads: int) -> None:
    """Parse, measure, print, write."""
    torch.set_num_threads(threads)
    rows = [benchmark_update(d, images, batch, rounds) for d in features]
    rows += [benchmark_distance(d, 1) for d in features]
    print(f"{'what':10}{'features':>10}{'gensweep':>12}{'ignite':>12}  {'unit':12}{'ratio':>8}{'disagreement':>15}")
    for row in rows:
        print(
            f"{row['what']:10}{row['features']:>10}{row['gensweep']:>12.3f}{row['ignite']:>12.3f}  "
            f"{row['unit']:12}{row['ratio']:>8.1f}{row['disagreement']:>15.1e}"
        )
    write_result(
        "fid_update",
        versions={name: version(name) for name in ("torch", "pytorch-ignite", "scipy")},
        settings={"images": images, "batch": batch, "rounds": rounds},
        results=rows,
    )
    if any(row["disagreement"] > AGREEMENT for row in rows):
        raise SystemExit("the two implementations disagree by more than 1e-6")


if __name__ == "__main__":
    main()
