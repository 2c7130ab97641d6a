"""Evaluation of a family on all ranks: draw samples, quantise them, extract features, and compute metrics.

Metrics of likelihood use held-out real images instead of samples.

Image i depends on the key, the weights and i alone, so neither the batch size nor the number of workers changes it, up
to the rounding of the network.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.data.images import Images
from gensweep.errors import GensweepError, ParameterError
from gensweep.families.family import Family, Likelihood
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.metric import METRICS
from gensweep.metrics.processes import Metric, Needs
from gensweep.metrics.quantisation import to_uint8
from gensweep.metrics.uncertainty import Estimate
from gensweep.noise import Noise
from gensweep.results import Identity, Score
from gensweep.training.distributed import Workers

__all__ = [
    "IMAGES_SHOWN",
    "SUSPECTS_SHOWN",
    "EvaluationResult",
    "Evaluator",
    "bits_per_dim",
    "draw",
    "evaluate",
    "evaluate_images",
    "evaluating",
    "proportional_labels",
    "scores_of",
    "write_estimates",
    "write_grid",
    "write_pairs",
]

#: Generated images that are kept to look at.
IMAGES_SHOWN = 64
#: Generated images that are shown beside the training images they may be copies of.
SUSPECTS_SHOWN = 16
#: Small images are enlarged to about this side in a grid.
MIN_TILE_PIXELS = 32
#: The white margin around each image of a grid.
TILE_MARGIN_PIXELS = 2


@dataclass(frozen=True)
class Evaluator:
    """What a family is evaluated with: an extractor, metrics by name, and the identity of the score of each.

    Classes have `class_names`.  Labels of generated images come in the proportions of `class_counts`, those of the
    training images; `shape` is that of an image, (channels, height, width).  Metrics of samples need the extractor,
    metrics of likelihood the `held_out` images, and the number of `timesteps` that the bound of each is estimated at
    (None: all).  Before the end of a training `rung_samples` images are drawn, in `rung_steps` steps of the family's
    sampler, if these are given; see `early_evaluation.early`.
    """

    extractor: Extractor | None
    metrics: dict[str, Metric]
    identities: dict[str, Identity]
    samples: int
    batch_size: int
    class_counts: tuple[int, ...]
    shape: tuple[int, int, int]
    held_out: Images | None = None
    timesteps: int | None = None
    class_names: tuple[str, ...] = ()
    rung_samples: int | None = None
    rung_steps: int | None = None

    def metrics_of(self, needs: Needs) -> dict[str, Metric]:
        """Those that are computed from samples, or from a likelihood."""
        return {name: metric for name, metric in self.metrics.items() if metric.needs == needs}


class EvaluationResult(NamedTuple):
    """Scores by metric, the first images, and the seconds that this process drew and scored images.

    `signals` are further numbers, such as the diversity of the images or the details of a score.  `suspects` are
    generated images that a metric takes for copies, each followed by the real image that it may be a copy of.
    `estimates` are those of metrics that can estimate the error of their score.
    """

    scores: dict[str, float]
    shown: UInt8[Tensor, "k c h w"]
    sample_seconds: float
    evaluate_seconds: float
    signals: dict[str, float]
    estimates: dict[str, Estimate]
    suspects: UInt8[Tensor, "p c h w"] | None = None


def evaluate(
    family: Family,
    network: nn.Module,
    evaluator: Evaluator,
    *,
    workers: Workers | None = None,
    key: int = 0,
    progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Score the images that a network like `family.networks[family.sampled]` draws; every rank must call it.

    Equal keys give the same noise to every model, so their first images can be looked at side by side.  `progress` gets
    the number of images that this rank has drawn so far.
    """
    device = next(network.parameters()).device
    labels = proportional_labels(evaluator.class_counts, evaluator.samples).to(device)
    result = evaluate_images(
        evaluator,
        lambda indices: draw(family, network, Noise(key, indices), labels[indices]),
        device,
        workers=workers,
        labels=labels if family.classes else None,
        progress=progress,
    )
    of_likelihood, watch = evaluator.metrics_of("likelihood"), _Watch(device)
    if not of_likelihood:
        return result
    for metric in of_likelihood.values():
        metric.reset()
    for bits in bits_per_dim(family, network, evaluator, workers or Workers.current(), key):
        for metric in of_likelihood.values():
            metric.update(bits)
    scores = result.scores | {name: float(metric.compute()) for name, metric in of_likelihood.items()}
    return result._replace(
        scores={name: scores[name] for name in evaluator.metrics},
        evaluate_seconds=result.evaluate_seconds + watch.lap(),
    )


def evaluate_images(
    evaluator: Evaluator,
    images: Callable[[Int[Tensor, " n"]], UInt8[Tensor, "n c h w"]],
    device: torch.device,
    *,
    workers: Workers | None = None,
    labels: Int[Tensor, " samples"] | None = None,
    progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Score images 0..samples-1 of any origin, which `images` gives by index; every rank must call it.

    Metrics of likelihood are left out, as they need a model.  Raises ConfigError if a metric needs the classes that the
    images were drawn for, and there are no `labels`.
    """
    workers = workers or Workers.current()
    shown = torch.zeros(min(IMAGES_SHOWN, evaluator.samples), *evaluator.shape, dtype=torch.uint8, device=device)
    share, watch, drawing, scoring = workers.share(evaluator.samples), _Watch(device), 0.0, 0.0
    of_samples = evaluator.metrics_of("samples")
    _require_labels(of_samples, labels)
    for metric in of_samples.values():
        metric.reset()
    for start in range(share.start, share.stop, evaluator.batch_size):
        batch = images(torch.arange(start, min(start + evaluator.batch_size, share.stop), device=device))
        first = batch[: max(0, len(shown) - start)]
        shown[start : start + len(first)] = first
        drawing += watch.lap()
        if of_samples and evaluator.extractor is not None:
            features = evaluator.extractor(batch)
            for metric in of_samples.values():
                if labels is not None and metric.labelled:
                    metric.update((features, labels[start : start + len(batch)]))
                else:
                    metric.update(features)
        scoring += watch.lap()
        if progress is not None:
            progress(start + len(batch) - share.start)
    scores = {name: float(metric.compute()) for name, metric in of_samples.items()}
    signals, estimates = _signals(of_samples), _estimates(of_samples)
    suspects = _suspects(of_samples, images, device)
    # Every image was drawn by one rank and is black on the others.
    return EvaluationResult(
        scores, workers.sum(shown).cpu(), drawing, scoring + watch.lap(), signals, estimates, suspects
    )


def scores_of(evaluator: Evaluator, result: EvaluationResult) -> dict[str, Score]:
    """The scores of a result by metric, with what each is a score of, and how sure it is."""
    scores = {}
    for name, value in result.scores.items():
        score = Score(value, METRICS[name].mode, evaluator.identities[name])
        if (estimate := result.estimates.get(name)) is not None:
            score = replace(score, corrected=estimate.corrected, error=estimate.error)
        scores[name] = score
    return scores


def _suspects(
    metrics: Mapping[str, Metric], images: Callable[[Tensor], Tensor], device: torch.device
) -> UInt8[Tensor, "p c h w"] | None:
    """Pairs of images, drawn again, as only their positions were kept."""
    for metric in metrics.values():
        if (found := metric.suspects(SUSPECTS_SHOWN)) is not None:
            positions, real = found
            return torch.stack([images(positions.to(device)).cpu(), real], 1).flatten(0, 1)
    return None


def _require_labels(metrics: Mapping[str, Metric], labels: Tensor | None) -> None:
    names = [name for name, metric in metrics.items() if metric.labelled]
    if names and labels is None:
        raise ParameterError(
            "metrics",
            f"{', '.join(names)} ask{'s' if len(names) == 1 else ''} for the classes that images "
            "were drawn for, and these were drawn without; leave out what asks",
        )


def _signals(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Diversity and details of metrics whose scores are computed."""
    signals: dict[str, float] = {}
    for name, metric in metrics.items():
        if (diversity := metric.diversity()) is not None:
            signals["diversity"] = diversity
        signals |= {f"{name}/{key}": value for key, value in metric.details().items()}
    return signals


def _estimates(metrics: Mapping[str, Metric]) -> dict[str, Estimate]:
    """The estimates of those metrics that have one and enough images for it."""
    found = {name: metric.estimate() for name, metric in metrics.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def write_estimates(estimates: Mapping[str, Estimate], file: Path) -> None:
    """Write as JSON, by metric, "corrected", "error" and the "influences" of the images, in their order."""
    record = {
        name: {
            "corrected": estimate.corrected,
            "error": estimate.error,
            "influences": [float(f"{value:.7g}") for value in estimate.influences.tolist()],
        }
        for name, estimate in estimates.items()
    }
    file.write_text(json.dumps(record, allow_nan=False) + "\n")


def bits_per_dim(
    family: Family, network: nn.Module, evaluator: Evaluator, workers: Workers, key: int = 0
) -> Iterator[Float64[Tensor, " b"]]:
    """Bits per dimension of the rank's share of the held-out images, batch by batch, by the network as in `draw`.

    Raises ConfigError for a family without a likelihood, GensweepError if nothing was held out.
    """
    if not isinstance(family, Likelihood):
        raise ParameterError("metrics", f"{type(family).__name__} has no likelihood; take the metric bpd out")
    if evaluator.held_out is None:
        raise GensweepError("bits per dimension need images that were held out, but the evaluator has none")
    device, (pixels, labels) = next(network.parameters()).device, (evaluator.held_out.pixels, evaluator.held_out.labels)
    share = workers.share(len(pixels))
    for start in range(share.start, share.stop, evaluator.batch_size):
        part = slice(start, min(start + evaluator.batch_size, share.stop))
        images = pixels[part].to(device).float().div_(127.5).sub_(1)
        noise = Noise(key, torch.arange(part.start, part.stop, device=device))
        classes = labels[part].to(device) if family.classes else None
        with evaluating(network):
            bits = family.bits_per_dim(network, images, classes, noise, evaluator.timesteps)
        yield bits


def draw(
    family: Family, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None
) -> UInt8[Tensor, "n c h w"]:
    """Images as bytes, drawn by the network in evaluation mode; the network returns to its former mode.

    The family chooses the precision, not the training.
    """
    with evaluating(network):
        return to_uint8(family.sample(network, noise, labels if family.classes else None))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode and without gradients; it returns to its former mode."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)


def proportional_labels(counts: Sequence[int], n: int) -> Int[Tensor, " n"]:
    """The first n of an endless sequence of labels that holds each class in proportion to its count.

    It goes through the classes in rounds and leaves out the rarer ones in some of them; equal counts give
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
    scale = max(1, MIN_TILE_PIXELS // images.shape[-1])
    large = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    tiles = F.pad(large.expand(-1, 3, -1, -1), [TILE_MARGIN_PIXELS] * 4, value=255)
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    blank = tiles.new_full((rows * columns - len(tiles), *tiles.shape[1:]), 255)
    grid = torch.cat([tiles, blank]).reshape(rows, columns, *tiles.shape[1:]).permute(0, 3, 1, 4, 2)
    Image.fromarray(grid.flatten(2, 3).flatten(0, 1).contiguous().numpy()).save(file)


def write_pairs(suspects: UInt8[Tensor, "p c h w"], file: Path) -> None:
    """Write generated images, each with its original to the right, as one picture, four pairs a row."""
    write_grid(suspects, file, columns=min(8, len(suspects)))


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
