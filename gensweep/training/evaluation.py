"""Judging a family: samples are drawn, quantised, seen by an extractor and scored, on all ranks together.

Image i depends on the key, the weights and i alone, so neither the batch size nor the number of workers changes it, up
to the rounding of the network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from ignite.metrics import Metric
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.families.family import Family
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.identity import MetricIdentity
from gensweep.metrics.images import to_uint8
from gensweep.noise import Noise
from gensweep.training.distributed import Workers

__all__ = ["Judge", "Verdict", "draw", "evaluate", "judge_images", "proportional_labels", "write_grid"]

#: How many of the images are kept for people to see.
SHOWN = 64
#: Images in a picture are enlarged to at least so many pixels, with so many white ones around them.
VISIBLE, MARGIN = 32, 2


@dataclass(frozen=True)
class Judge:
    """By what a family is judged: an extractor, metrics by name, and what a score of each is a score of.

    Labels of generated images come in the proportions of `class_counts`, those of the training images; `shape` is that
    of an image, (channels, height, width).
    """

    extractor: Extractor
    metrics: dict[str, Metric]
    identities: dict[str, MetricIdentity]
    samples: int
    batch_size: int
    class_counts: tuple[int, ...]
    shape: tuple[int, int, int]


class Verdict(NamedTuple):
    """Scores by metric, the first images, and the seconds that this process drew and scored images."""

    scores: dict[str, float]
    shown: UInt8[Tensor, "k c h w"]
    sample_seconds: float
    evaluate_seconds: float


def evaluate(
    family: Family,
    network: nn.Module,
    judge: Judge,
    *,
    workers: Workers | None = None,
    key: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """Score the images that a network like `family.networks[family.sampled]` draws; every rank must call it.

    Equal keys give the same noise to every model, so their first images can be looked at side by side.  `progress` gets
    the number of images that this rank has drawn so far.
    """
    device = next(network.parameters()).device
    labels = proportional_labels(judge.class_counts, judge.samples).to(device)
    return judge_images(
        judge,
        lambda indices: draw(family, network, Noise(key, indices), labels[indices]),
        device,
        workers=workers,
        progress=progress,
    )


def judge_images(
    judge: Judge,
    images: Callable[[Int[Tensor, " n"]], UInt8[Tensor, "n c h w"]],
    device: torch.device,
    *,
    workers: Workers | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """Score images 0..samples-1 of whatever origin, asked for by index on a device; every rank must call it."""
    workers = workers or Workers.current()
    shown = torch.zeros(min(SHOWN, judge.samples), *judge.shape, dtype=torch.uint8, device=device)
    share, watch, drawing, scoring = workers.share(judge.samples), _Watch(device), 0.0, 0.0
    for metric in judge.metrics.values():
        metric.reset()
    for start in range(share.start, share.stop, judge.batch_size):
        batch = images(torch.arange(start, min(start + judge.batch_size, share.stop), device=device))
        first = batch[: max(0, len(shown) - start)]
        shown[start : start + len(first)] = first
        drawing += watch.lap()
        features = judge.extractor(batch)
        for metric in judge.metrics.values():
            metric.update(features)
        scoring += watch.lap()
        if progress is not None:
            progress(start + len(batch) - share.start)
    scores = {name: float(metric.compute()) for name, metric in judge.metrics.items()}
    # Every image was drawn by one rank and is black on the others.
    return Verdict(scores, workers.sum(shown).cpu(), drawing, scoring + watch.lap())


def draw(
    family: Family, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None
) -> UInt8[Tensor, "n c h w"]:
    """Images as bytes, by the network in evaluation mode and float32; it is left in the mode in which it was.

    Whatever the precision of the training: where little is left of an image, a diffusion sampler multiplies rounding
    errors of the network by a hundred, and in bfloat16 wrong images come out.
    """
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            return to_uint8(family.sample(network, noise, labels if family.classes else None))
    finally:
        network.train(training)


def proportional_labels(counts: Sequence[int], n: int) -> Int[Tensor, " n"]:
    """The first n of an endless sequence of labels that holds each class in proportion to its count.

    It goes round after round through the classes and leaves out the rarer ones as often as it must; equal counts give
    0, 1, 2, ..., 0, 1, 2, ...  A label does not depend on n.
    """
    each = torch.tensor(counts)
    most = int(each.max())
    rounds = torch.arange(n * most // sum(counts) + 2)[:, None]
    # By the end of round r a class has been named ceil(r * count / most) times.
    named = (rounds * each + most - 1) // most
    return (named[1:] > named[:-1]).nonzero()[:n, 1]


def write_grid(images: UInt8[Tensor, "k c h w"], file: Path, columns: int | None = None) -> None:
    """Write images as one picture, row by row, square unless a number of columns is given; small ones are enlarged."""
    scale = max(1, VISIBLE // images.shape[-1])
    large = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    tiles = F.pad(large.expand(-1, 3, -1, -1), [MARGIN] * 4, value=255)
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    blank = tiles.new_full((rows * columns - len(tiles), *tiles.shape[1:]), 255)
    grid = torch.cat([tiles, blank]).reshape(rows, columns, *tiles.shape[1:]).permute(0, 3, 1, 4, 2)
    Image.fromarray(grid.flatten(2, 3).flatten(0, 1).contiguous().numpy()).save(file)


class _Watch:
    """Seconds between calls, with all work of the device done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.last = self._now()

    def lap(self) -> float:
        last, self.last = self.last, self._now()
        return self.last - last

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
