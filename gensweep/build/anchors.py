"""Between what a score lies: that of as many held-out real images, its floor, and that of noise, its ceiling.

The ceiling is the better one of two: of images whose values are uniform random numbers, and of the mean of the training
images again and again.  A model that draws neither has learnt something.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from gensweep.data.images import Images
from gensweep.errors import GensweepError
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.kept import kept
from gensweep.metrics.metric import BITS_OF_A_UNIFORM_MODEL, METRICS
from gensweep.metrics.processes import Metric, alone
from gensweep.metrics.real import labels_hash, reference_name, spread
from gensweep.results import Anchor, Anchors, Identity
from gensweep.training.evaluation import Evaluator, proportional_labels

#: What a file in the cache holds, with the version of its layout and of the numbers.
ANCHORS_FORMAT = "gensweep anchors 2"
#: The seed of the noise, whose pixels are the same for every model.
NOISE_SEED = 0
#: What ceilings are scores of, in words.
NOISE = "noise"
MEAN_IMAGE = "the mean image"
UNIFORM_MODEL = "a uniform model"

Batches = Iterator[tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]]


def anchors_of(
    evaluator: Evaluator, unseen: Callable[[], Images | None], cache: Path, samples: int
) -> dict[str, Anchors]:
    """The anchors of the scores of an evaluation, by metric.

    `unseen` gives all images of the test split; without them there may be no floors.  A uniform model needs as many
    bits for any image; bits per dimension have no floor.
    """
    settings, found = evaluator.settings, dict[str, Anchors]()
    if evaluator.held_out is not None:
        uniform = Anchor(BITS_OF_A_UNIFORM_MODEL, UNIFORM_MODEL, len(evaluator.held_out))
        found = {name: Anchors(ceiling=uniform) for name in settings.of("likelihood")}
    if evaluator.extractor is None:
        return found
    test, metrics = unseen(), evaluator.metrics_of("samples")
    # Real images that the reference holds would score too well: beside the test split these are the training images.
    tested = settings.against == "test" or (
        test is not None and reference_name(test) in {evaluator.identities[name].reference for name in metrics}
    )
    others = evaluator.images if tested else test
    for held_out in dict.fromkeys([test, others]):
        chosen = [name for name in metrics if (test if METRICS[name].of_training else others) is held_out]
        if chosen:
            scorer = _AnchorScorer(
                {name: metrics[name] for name in chosen},
                evaluator.identities,
                evaluator.extractor,
                evaluator.images,
                held_out,
                settings.batch_size,
                cache,
            )
            found |= scorer.anchors(samples)
    return found


@dataclass(frozen=True, eq=False)
class _AnchorScorer:
    """Scores real images and noise as the images of a model are scored, once for all models: the cache keeps them.

    `training` are the images of the training, `held_out` gives real ones that the reference does not hold, or None.
    `metrics` are those of samples, and come back reset.
    """

    metrics: Mapping[str, Metric]
    identities: Mapping[str, Identity]
    extractor: Extractor
    training: Images
    held_out: Images | None
    batch_size: int
    cache: Path

    def anchors(self, samples: int) -> dict[str, Anchors]:
        """Of each metric, the anchors of scores of so many samples; one that cannot be computed is None.

        Of several processes on a machine one computes and the others wait: none needs to know of the others.
        """
        key = self._key(samples)
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        file = self.cache / "references" / f"{digest[:24]}.safetensors"
        entry = kept(file, key, lambda: self._compute(samples))
        return {name: self._anchors_of(name, entry) for name in self.metrics}

    def _anchors_of(self, name: str, entry: Mapping[str, Tensor]) -> Anchors:
        real = "" if self.held_out is None else self.held_out.name
        floor, *ceilings = (_unpacked(entry[f"{name}/{each}"], each or real) for each in ("", NOISE, MEAN_IMAGE))
        known = [] if METRICS[name].fooled_by_noise else [each for each in ceilings if each is not None]
        best = min if METRICS[name].mode == "min" else max
        return Anchors(floor, best(known, key=lambda anchor: anchor.value) if known else None)

    def _key(self, samples: int) -> dict[str, str]:
        plain = {name: replace(each, samples=samples).as_dict() for name, each in self.identities.items()}
        for identity in plain.values():
            del identity["weights"]
        key = {
            "format": ANCHORS_FORMAT,
            "identities": json.dumps({name: plain[name] for name in self.metrics}, sort_keys=True),
            "training": f"{reference_name(self.training)}, {self.training.fingerprint}",
            "held out": "" if self.held_out is None else f"{self.held_out.name}#{self.held_out.fingerprint}",
        }
        if any(METRICS[name].labelled for name in self.metrics):
            labelled = [self.training, *([] if self.held_out is None else [self.held_out])]
            key["labels"] = ", ".join(map(labels_hash, labelled))
        return key

    def _compute(self, samples: int) -> dict[str, Tensor]:
        found = dict[str, Tensor]()
        sources: dict[str, Callable[[], Batches]] = {
            "": lambda: self._real(samples),
            NOISE: lambda: self._noise(samples),
            MEAN_IMAGE: lambda: self._mean_image(samples),
        }
        for source, batches in sources.items():
            found |= {f"{name}/{source}": numbers for name, numbers in self._scores(batches()).items()}
        return found

    def _scores(self, batches: Batches) -> dict[str, Float64[Tensor, " 4"]]:
        """By metric: value, value without the bias of few images, standard error, images; NaN for what is not known."""
        count = 0
        for metric in self.metrics.values():
            metric.reset()
        for features, labels in batches:
            count += len(labels)
            for metric in self.metrics.values():
                metric.update((features, labels) if metric.labelled else features)
        found = {
            name: torch.tensor([*_numbers(metric), count], dtype=torch.float64) for name, metric in self.metrics.items()
        }
        for metric in self.metrics.values():
            metric.reset()
        return found

    def _real(self, samples: int) -> Batches:
        images = self.held_out
        if images is None:
            return
        for part in torch.split(_like_drawn(images.labels, self._labels(samples)), self.batch_size):
            yield self.extractor(images.pixels[part].to(self._device)), images.labels[part].to(self._device)

    def _noise(self, samples: int) -> Batches:
        generator = torch.Generator().manual_seed(NOISE_SEED)
        for labels in torch.split(self._labels(samples), self.batch_size):
            shape = (len(labels), *self.training.shape)
            pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
            yield self.extractor(pixels.to(self._device)), labels.to(self._device)

    def _mean_image(self, samples: int) -> Batches:
        total = self.training.pixels.sum(0, keepdim=True, dtype=torch.int64)
        mean = (total / len(self.training)).round().to(torch.uint8)
        features = self.extractor(mean.to(self._device))
        for labels in torch.split(self._labels(samples), self.batch_size):
            yield features.expand(len(labels), -1), labels.to(self._device)

    def _labels(self, samples: int) -> Int[Tensor, " samples"]:
        return proportional_labels(self.training.class_counts, samples)

    @cached_property
    def _device(self) -> torch.device:
        return next(self.extractor.parameters()).device


def _like_drawn(labels: Int[Tensor, " n"], drawn: Int[Tensor, " m"]) -> Int[Tensor, " k"]:
    """Which real images are as many of each class as were drawn; others stand in for those that a class lacks."""
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
    except GensweepError:  # too few images for this metric, or none
        return unknown, unknown, unknown
    if estimate is not None:
        return value, estimate.corrected, estimate.error
    return value, unknown, metric.details.get("standard_error", unknown)


def _unpacked(numbers: Float64[Tensor, " 4"], source: str) -> Anchor | None:
    value, corrected, error, images = numbers.tolist()
    if value != value:
        return None
    return Anchor(
        value,
        source,
        int(images),
        None if corrected != corrected else corrected,
        None if error != error else error,
    )
