"""Anchors of a score: its floor (the same number of held-out real images) and its ceiling (noise).

The ceiling is the better of two scores: uniform random pixels, and copies of the mean training image.
A model that scores worse has learned nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float64, Int, UInt8
from torch import Tensor

from gensweep.data.images import Images
from gensweep.errors import GensweepError
from gensweep.metrics.metric import BITS_OF_A_UNIFORM_MODEL, METRICS, Metric, alone
from gensweep.metrics.real import kept, labels_hash, reference_name, spread
from gensweep.noise import Noise
from gensweep.results import Anchor, Anchors, order_of
from gensweep.training.evaluation import Evaluator, sample_labels

#: Version of a cache file's layout and numbers.
ANCHORS_FORMAT = "gensweep anchors 2"
#: Seed of labels and of noise pixels, equal for every model.
NOISE_SEED = 0
#: Names of the scored images; real ones are named after their data set.
REAL = ""
NOISE = "noise"
MEAN_IMAGE = "the mean image"
UNIFORM_MODEL = "a uniform model"


def anchors_of(
    evaluator: Evaluator, unseen: Callable[[], Images | None], cache: Path, samples: int
) -> dict[str, Anchors]:
    """Anchors of an evaluation's scores with this number of samples, by metric, from the cache if possible.

    `unseen` returns all images of the test split; without them there may be no floors.  Bits per dimension have no
    floor; their ceiling is a uniform model, which needs the same bits for every image.
    """
    settings, found = evaluator.settings, dict[str, Anchors]()
    if evaluator.held_out is not None:
        uniform = Anchor(BITS_OF_A_UNIFORM_MODEL, UNIFORM_MODEL, len(evaluator.held_out))
        found = {name: Anchors(ceiling=uniform) for name in settings.of("likelihood")}
    if evaluator.extractor is None:
        return found
    test, metrics = unseen(), evaluator.metrics_of("samples")
    # Real images in the reference would score too well: next to the test split use training images.
    tested = settings.against == "test" or (
        test is not None and reference_name(test) in {evaluator.identities[name].reference for name in metrics}
    )
    others = evaluator.images if tested else test
    for held_out in dict.fromkeys([test, others]):
        chosen = {
            name: metric
            for name, metric in metrics.items()
            if (test if METRICS[name].of_training else others) is held_out
        }
        if chosen:
            found |= _kept_anchors(evaluator, chosen, held_out, cache, samples)
    return found


def _kept_anchors(
    evaluator: Evaluator, metrics: Mapping[str, Metric], held_out: Images | None, cache: Path, samples: int
) -> dict[str, Anchors]:
    """Anchors of sample metrics, which are reset afterwards; None where they cannot be computed.

    One process per machine computes them while the others wait.
    """
    sets = [evaluator.images] if held_out is None else [evaluator.images, held_out]
    plain = {name: replace(evaluator.identities[name], samples=samples, weights="").as_dict() for name in metrics}
    key = {
        "format": ANCHORS_FORMAT,
        "identities": json.dumps(plain, sort_keys=True),
        "images": ", ".join(f"{reference_name(images)}#{images.fingerprint}" for images in sets),
    }
    if any(METRICS[name].labelled for name in metrics):
        key["labels"] = ", ".join(map(labels_hash, sets))
    scores = kept(cache, key, lambda: _scores(evaluator, metrics, held_out, samples))
    found = {}
    for name in metrics:
        floor = _anchor(scores[f"{name}/{REAL}"], held_out.name if held_out else "")
        ceilings = [_anchor(scores[f"{name}/{source}"], source) for source in (NOISE, MEAN_IMAGE)]
        known = [] if METRICS[name].fooled_by_noise else [each for each in ceilings if each is not None]
        mode = METRICS[name].mode
        found[name] = Anchors(floor, min(known, key=lambda anchor: order_of(anchor.value, mode), default=None))
    return found


def _scores(
    evaluator: Evaluator, metrics: Mapping[str, Metric], held_out: Images | None, samples: int
) -> dict[str, Float64[Tensor, " 4"]]:
    """By metric and source: value, unbiased value, standard error, number of images; NaN if unknown."""
    found, extractor = dict[str, Tensor](), evaluator.extractor
    assert extractor is not None
    drawn = sample_labels(evaluator.images.class_counts, Noise(NOISE_SEED, torch.arange(samples)))
    for source in (REAL, NOISE, MEAN_IMAGE):
        count = 0
        for metric in metrics.values():
            metric.reset()
        for images, labels in _images(source, evaluator, held_out, drawn):
            count += len(labels)
            # A repeated image is processed once.
            features = extractor(images[: 1 if source == MEAN_IMAGE else None]).expand(len(images), -1)
            for metric in metrics.values():
                metric.see(images, features, labels)
        for name, metric in metrics.items():
            found[f"{name}/{source}"] = torch.tensor([*_numbers(metric), count], dtype=torch.float64)
    for metric in metrics.values():
        metric.reset()
    return found


def _images(
    source: str, evaluator: Evaluator, held_out: Images | None, drawn: Int[Tensor, " samples"]
) -> Iterator[tuple[UInt8[Tensor, "b c h w"], Int[Tensor, " b"]]]:
    """Images of a source and their labels, in batches; noise and the mean image have the labels `drawn`."""
    training, size = evaluator.images, evaluator.settings.batch_size
    assert evaluator.extractor is not None
    device = next(evaluator.extractor.parameters()).device
    if source == REAL:
        if held_out is not None:
            for part in torch.split(_like_drawn(held_out.labels, drawn), size):
                yield held_out.pixels[part].to(device), held_out.labels[part].to(device)
        return
    generator = torch.Generator().manual_seed(NOISE_SEED)
    mean = (training.pixels.sum(0, dtype=torch.int64) / len(training)).round().to(torch.uint8)
    for labels in torch.split(drawn, size):
        shape = (len(labels), *training.shape)
        noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        yield (noise if source == NOISE else mean.expand(shape)).to(device), labels.to(device)


def _like_drawn(labels: Int[Tensor, " n"], drawn: Int[Tensor, " m"]) -> Int[Tensor, " k"]:
    """Real images with the drawn number per class; classes with too few are filled up from other classes."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, wanted in enumerate(torch.bincount(drawn)):
        of_class = torch.nonzero(labels == label)[:, 0]
        chosen[of_class[spread(len(of_class), int(wanted))]] = True
    others = torch.nonzero(~chosen)[:, 0]
    chosen[others[spread(len(others), len(drawn) - int(chosen.sum()))]] = True
    return torch.nonzero(chosen)[:, 0]


def _numbers(metric: Metric) -> tuple[float, float, float]:
    unknown = float("nan")
    try:
        with alone():
            value, estimate = float(metric.compute()), metric.estimate()
    except GensweepError:  # too few images for this metric
        return unknown, unknown, unknown
    if estimate is not None:
        return value, estimate.corrected, estimate.error
    return value, unknown, metric.details.get("standard_error", unknown)


def _anchor(numbers: Float64[Tensor, " 4"], source: str) -> Anchor | None:
    value, corrected, error, images = (None if number != number else number for number in numbers.tolist())
    return None if value is None else Anchor(value, source, int(images or 0), corrected, error)
