"""Do the metrics rank damage?  Scores of real CIFAR-10 images that were damaged more and more, against other real ones.

    .venv/bin/gensweep data fetch cifar10
    .venv/bin/python benchmarks/metric_damage.py
    .venv/bin/python benchmarks/metric_damage.py --images 500 --reference 2000 --resolution 32

Real images that stand in for generated ones come from the training split, but are other ones than those that they are
compared with, so a perfect score of theirs is the least that any generator can get.  They are damaged by noise, blur
and JPEG; lose classes, variety or their labels; or hold copies of the images that they are compared with.

Every row is on disk before the next begins, and a call with the same settings goes on where the last one stopped.
Prints a table, and of each damage that grows the scores that get worse with every step, and writes
benchmarks/results/metric_damage-SETTINGS.json.  The script ends with an error if one of `MUST` does not.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click
import numpy as np
import torch
from dated_results import RESULTS, dated
from measuring import evaluator
from PIL import Image, ImageFilter
from torch import Tensor

from gensweep.data.images import DATASETS, Images
from gensweep.files import cache_folder
from gensweep.metrics.extractors import EXTRACTORS, Extractor
from gensweep.metrics.frechet import frechet_distance
from gensweep.metrics.metric import METRICS
from gensweep.metrics.moments import Moments
from gensweep.metrics.real import Real
from gensweep.training.evaluation import evaluate_images

#: Damages that grow from row to row, what they begin with, and where a score goes that gets worse.
GROWING, UNDAMAGED = ("noise", "blur", "jpeg", "copies"), "train split, other images"
WORSE = {
    "fd": 1,
    "kid": 1,
    "precision": -1,
    "recall": -1,
    "density": -1,
    "coverage": -1,
    "agreement": -1,
    "authpct": -1,
    "authpct/memorised": 1,
    "diversity": -1,
}
NAMES = tuple(name for name in WORSE if name in METRICS)
#: What every step of these damages must show in.
MUST = {"noise": ("fd", "kid"), "blur": ("fd", "kid"), "jpeg": ("kid",), "copies": ("authpct", "authpct/memorised")}


@dataclass(frozen=True)
class Row:
    """Images with labels, under a name; of a damage that `grows`, the rows follow each other."""

    name: str
    pixels: Tensor
    labels: Tensor


def with_pictures(pixels: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Each image changed as a picture."""
    pictures = pixels.permute(0, 2, 3, 1).numpy()
    return torch.from_numpy(np.stack([np.asarray(change(Image.fromarray(each))) for each in pictures])).permute(
        0, 3, 1, 2
    )


def noisy(pixels: Tensor, sigma: float) -> Tensor:
    """Normal noise of so many grey levels."""
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0)) * sigma
    return (pixels + noise).round().clamp(0, 255).to(torch.uint8)


def blurred(pixels: Tensor, radius: float) -> Tensor:
    """A Gaussian blur with so many pixels of standard deviation."""
    return with_pictures(pixels, lambda picture: picture.filter(ImageFilter.GaussianBlur(radius)))


def through_jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Through JPEG and back."""

    def change(picture: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return with_pictures(pixels, change)


def damages(fresh: Images, test: Images, reference: Images) -> Iterator[Row]:
    """What is judged."""
    pixels, labels = fresh.pixels, fresh.labels
    n = len(pixels)
    yield Row("test split", test.pixels, test.labels)
    yield Row(UNDAMAGED, pixels, labels)
    for sigma in (4, 8, 16, 32):
        yield Row(f"noise, {sigma} of 255", noisy(pixels, sigma), labels)
    for radius in (0.5, 0.75, 1, 2):
        yield Row(f"blur, {radius:g} px", blurred(pixels, radius), labels)
    for quality in (90, 50, 20, 10):
        yield Row(f"jpeg, quality {quality}", through_jpeg(pixels, quality), labels)
    yield Row("labels moved by one class", pixels, (labels + 1) % 10)
    few = (labels < 5).nonzero()[:, 0]
    yield Row("5 of 10 classes, labelled as all", pixels[few].repeat(3, 1, 1, 1)[:n], labels)
    yield Row("100 images again and again", pixels[torch.arange(n) % 100], labels[torch.arange(n) % 100])
    for share in (1, 5, 25, 100):
        count = n * share // 100
        copied, told = pixels.clone(), labels.clone()
        copied[:count], told[:count] = reference.pixels[:count], reference.labels[:count]
        yield Row(f"copies, {share} % of the images", copied, told)


def score(row: Row, extractor: Extractor, references: dict[str, Any], batch: int = 100) -> dict[str, float]:
    """Scores and details by name, as an evaluation computes them."""
    metrics = {name: METRICS[name](references[name], "cpu") for name in NAMES}
    images = Images(row.pixels, row.labels, tuple("0123456789"), row.name, "", flip=False)
    result = evaluate_images(
        evaluator(extractor, metrics, images, batch),
        lambda indices: row.pixels[indices],
        torch.device("cpu"),
        labels=row.labels,
    )
    return {name: score.value for name, score in result.scores.items()} | result.signals


def class_distances(fresh: Real, reference: Real) -> list[list[float]]:
    """The Frechet distance of each class of fresh images (row) to each of the reference (column)."""
    rows, columns = (
        [Moments.of(each.features[each.labels == label]) for label in range(len(each.class_names))]
        for each in (fresh, reference)
    )
    return [[frechet_distance(a.mean, a.covariance, b.mean, b.covariance) for b in columns] for a in rows]


def part(images: Images, start: int, count: int, name: str) -> Images:
    """Some images of a data set."""
    chosen = slice(start, start + count)
    return replace(
        images,
        pixels=images.pixels[chosen].clone(),
        labels=images.labels[chosen].clone(),
        name=f"{images.name}, {name}",
        fingerprint=f"{images.fingerprint}[{start}:{start + count}]",
    )


def ranks(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, bool]]:
    """Of each damage that grows, which scores get worse with every step of it, "other images" being the first."""
    found: dict[str, dict[str, bool]] = {}
    for kind in GROWING:
        steps = [rows[UNDAMAGED], *(row for name, row in rows.items() if name.startswith(f"{kind},"))]
        pairs = list(itertools.pairwise(steps))
        found[kind] = {name: all(sign * b[name] > sign * a[name] for a, b in pairs) for name, sign in WORSE.items()}
    return found


def print_table(rows: dict[str, dict[str, float]]) -> None:
    """The table, in Markdown, for docs/metrics.md."""
    print("| images | " + " | ".join(column.rpartition("/")[2] for column in WORSE) + " |")
    print("|---|" + "--:|" * len(WORSE))
    digits = {"fd": 1, "kid": 4, "authpct": 1, "authpct/memorised": 3, "diversity": 2}
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[column]:.{digits.get(column, 3)}f}" for column in WORSE) + " |")


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option(
    "--images", type=click.IntRange(100), default=2000, show_default=True, help="Generated images in each row."
)
@click.option("--reference", type=click.IntRange(200), default=10000, show_default=True, help="Compared with.")
@click.option("--resolution", type=int, default=64, show_default=True, help="Pixels for EfficientNet-Lite0.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of torch.")
def main(images: int, reference: int, resolution: int, threads: int) -> None:
    """Parse, measure, print, write."""
    torch.set_num_threads(threads)
    settings = {"images": images, "reference": reference, "resolution": resolution}
    file = RESULTS / f"metric_damage-{images}-of-{reference}-{resolution}px.json"
    result: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": {}}
    train, test = (DATASETS["cifar10"](split, cache_folder()) for split in ("train", "test"))
    extractor = EXTRACTORS["efficientnet_lite0"]("cpu", cache_folder(), resolution=resolution)
    compared = part(train, 0, reference, "the first")
    fresh, unseen = part(train, reference, images, "the next"), part(test, 0, images, "the first")
    real = Real(compared, extractor, cache_folder(), unseen=lambda: unseen)

    def keep() -> None:
        result.update(dated("metric_damage", settings=settings, extractor=extractor.id))
        file.write_text(json.dumps(result, indent=1) + "\n")

    for row in damages(fresh, unseen, compared):
        if row.name not in result["rows"]:
            result["rows"][row.name] = score(row, extractor, dict.fromkeys(NAMES, real))
            keep()
            print(f"{row.name}: fd {result['rows'][row.name]['fd']:.2f}", flush=True)
    if "class_distances" not in result:
        result["class_names"] = list(train.class_names)
        result["class_distances"] = class_distances(Real(unseen, extractor, cache_folder()), real)
        keep()
    print_table(result["rows"])
    each = torch.tensor(result["class_distances"])
    nearest = (each.argmin(1) == torch.arange(len(each))).sum()
    print(f"{nearest} of {len(each)} classes of the test split are nearest to their own among the training images")
    result["ranks"] = ranks(result["rows"])
    keep()
    for kind, told in result["ranks"].items():
        print(f"every step of {kind} shows in: {', '.join(name for name, shows in told.items() if shows)}")
    blind = [
        f"{name} does not rank {kind}"
        for kind, must in MUST.items()
        for name in must
        if not result["ranks"][kind][name]
    ]
    if blind:
        raise SystemExit("\n".join(blind))


if __name__ == "__main__":
    main()
