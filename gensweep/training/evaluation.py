"""Evaluation of a family on all ranks: sample, quantise, extract features, and compute metrics.

Likelihood metrics use held-out real images instead of samples.

Image i depends only on the key, the weights and i.  Batch size and number of workers change nothing but rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from gensweep.data.images import Images
from gensweep.errors import ParameterError
from gensweep.families.family import Family, Likelihood, evaluating
from gensweep.metrics.extractors import Extractor, to_uint8
from gensweep.metrics.metric import METRICS, Metric, Needs
from gensweep.metrics.uncertainty import Estimate
from gensweep.noise import Noise
from gensweep.results import UNBIASED_PARTS, Anchors, Identity, Score
from gensweep.training.device import synchronised_time
from gensweep.training.distributed import ALONE, Workers
from gensweep.training.settings import EvaluationSettings, drawn_unscored

#: Random stream of the samples' classes.  Families use 1 to 3 for an image, samplers 16 and up.
LABEL_STREAM = 8
#: Number of generated images to show next to their possible training originals.
SUSPECTS_SHOWN = 16


@dataclass(frozen=True)
class Evaluator:
    """Evaluates a family: settings, an extractor, metrics, and the identity of each metric's scores.

    `images` are the training images; samples have their shape and class proportions.  Sample metrics need the
    extractor, likelihood metrics the `held_out` images.
    `anchors` returns anchors by metric for a number of images; its first call may take as long as two evaluations.
    """

    settings: EvaluationSettings
    images: Images
    extractor: Extractor | None
    metrics: Mapping[str, Metric]
    identities: Mapping[str, Identity]
    held_out: Images | None = None
    anchors: Callable[[int], Mapping[str, Anchors]] = lambda _: {}

    @property
    def samples(self) -> int:
        """Number of images to sample."""
        return self.settings.drawn

    def metrics_of(self, needs: Needs) -> dict[str, Metric]:
        """Metrics of samples, or metrics of likelihood."""
        return {name: self.metrics[name] for name in self.settings.of(needs)}

    def score(self, name: str, value: float, estimate: Estimate | None = None) -> Score:
        """A metric's value with its identity, uncertainty and anchors."""
        unbiased = {} if estimate is None else {part: getattr(estimate, part) for part in UNBIASED_PARTS}
        floor, ceiling = self.anchors(self.samples).get(name, Anchors())
        return Score(value, METRICS[name].mode, self.identities[name], floor=floor, ceiling=ceiling, **unbiased)


class EvaluationResult(NamedTuple):
    """Scores by metric, the first images, and the seconds that this process needed for sampling and scoring.

    `shown_labels` are the classes of the first images, if they have any.  `signals` are further numbers, such as
    diversity or details of a score.  `suspects` alternate possible copies and their training originals.  `estimates`
    are those of metrics with an error estimate.
    """

    scores: dict[str, Score]
    shown: UInt8[Tensor, "k c h w"]
    sample_seconds: float
    evaluate_seconds: float
    signals: dict[str, float]
    estimates: dict[str, Estimate]
    suspects: UInt8[Tensor, "p c h w"] | None
    shown_labels: Int[Tensor, " k"] | None = None


def evaluate(
    family: Family,
    network: nn.Module,
    evaluator: Evaluator,
    *,
    workers: Workers = ALONE,
    key: int = 0,
    progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Score images sampled with a network like `family.networks[family.sampled]`; every rank must call it.

    Equal keys give every model the same noise, so that their first images can be compared.  `progress` receives the
    number of images that this rank has sampled so far.
    """
    device = next(network.parameters()).device
    labels = sample_labels(evaluator.images.class_counts, Noise(key, torch.arange(evaluator.samples, device=device)))
    result = evaluate_images(
        evaluator,
        lambda indices: draw(family, network, Noise(key, indices), labels[indices]),
        device,
        workers=workers,
        labels=labels if family.classes else None,
        progress=progress,
    )
    if not evaluator.settings.of("likelihood"):
        return result
    started = synchronised_time(device)
    likelihoods, signals = _scores_of_likelihood(family, network, evaluator, workers, key)
    scores = result.scores | likelihoods
    return result._replace(
        scores={name: scores[name] for name in evaluator.settings.metrics},
        signals=result.signals | signals,
        evaluate_seconds=result.evaluate_seconds + synchronised_time(device) - started,
    )


def evaluate_images(
    evaluator: Evaluator,
    images: Callable[[Int[Tensor, " n"]], UInt8[Tensor, "n c h w"]],
    device: torch.device,
    *,
    workers: Workers = ALONE,
    labels: Int[Tensor, " samples"] | None = None,
    progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Score images 0..samples-1 of any origin, returned by `images` for an index; every rank must call it.

    Likelihood metrics need a model and are left out.  Raises ConfigError if a metric needs classes and `labels` is
    None.
    """
    metrics, share = evaluator.metrics_of("samples"), workers.share(evaluator.samples)
    _require_labels(metrics, labels)
    evaluator.anchors(evaluator.samples)  # before the clock starts
    shown = torch.zeros(drawn_unscored(evaluator.samples), *evaluator.images.shape, dtype=torch.uint8, device=device)
    drawing = scoring = 0.0
    for metric in metrics.values():
        metric.reset()
    for start in share[:: evaluator.settings.batch_size]:
        started = synchronised_time(device)
        stop = min(start + evaluator.settings.batch_size, share.stop)
        batch = images(torch.arange(start, stop, device=device))
        first = batch[: max(0, len(shown) - start)]
        shown[start : start + len(first)] = first
        drawn = synchronised_time(device)
        if evaluator.extractor is not None:
            features = evaluator.extractor(batch)
            for metric in metrics.values():
                metric.see(batch, features, None if labels is None else labels[start:stop])
        drawing, scoring = drawing + drawn - started, scoring + synchronised_time(device) - drawn
        if progress is not None:
            progress(stop - share.start)
    started = synchronised_time(device)
    scores, signals, estimates = computed(evaluator, metrics)
    suspects = None
    for metric in metrics.values():
        if (found := metric.suspects(SUSPECTS_SHOWN)) is not None:
            positions, real = found
            # Only their positions were kept, so sample them again.
            suspects = torch.stack([images(positions.to(device)).cpu(), real], 1).flatten(0, 1)
    # Each image is zero on all ranks but the one that sampled it, so the sum has all.
    shown = workers.sum(shown).cpu()
    scoring += synchronised_time(device) - started
    shown_labels = None if labels is None else labels[: len(shown)].cpu()
    return EvaluationResult(scores, shown, drawing, scoring, signals, estimates, suspects, shown_labels)


def computed(
    evaluator: Evaluator, metrics: Mapping[str, Metric]
) -> tuple[dict[str, Score], dict[str, float], dict[str, Estimate]]:
    """Scores of updated metrics, diversity and details, and estimates if there are enough images."""
    scores, signals, estimates = {}, {}, {}
    for name, metric in metrics.items():
        value = float(metric.compute())
        if (estimate := metric.estimate()) is not None:
            estimates[name] = estimate
        if (diversity := metric.diversity()) is not None:
            signals["diversity"] = diversity
        signals |= {f"{name}/{key}": detail for key, detail in metric.details.items()}
        scores[name] = evaluator.score(name, value, estimate)
    return scores, signals, estimates


def _require_labels(metrics: Mapping[str, Metric], labels: Tensor | None) -> None:
    names = [name for name, metric in metrics.items() if metric.labelled]
    if names and labels is None:
        raise ParameterError(
            "metrics",
            f"{', '.join(names)} need{'s' if len(names) == 1 else ''} the classes of images, "
            "but these have none; leave the metric out",
        )


def _scores_of_likelihood(
    family: Family, network: nn.Module, evaluator: Evaluator, workers: Workers, key: int
) -> tuple[dict[str, Score], dict[str, float]]:
    """Scores and details of the held-out images; each rank processes its share."""
    if not isinstance(family, Likelihood):
        raise ParameterError("metrics", f"{type(family).__name__} has no likelihood; remove the metric bpd")
    assert evaluator.held_out is not None
    metrics = evaluator.metrics_of("likelihood")
    for metric in metrics.values():
        metric.reset()
    device, share = next(network.parameters()).device, workers.share(len(evaluator.held_out))
    for start in share[:: evaluator.settings.batch_size]:
        stop = min(start + evaluator.settings.batch_size, share.stop)
        images = evaluator.held_out.pixels[start:stop].to(device).float().div_(127.5).sub_(1)
        labels = evaluator.held_out.labels[start:stop].to(device) if family.classes else None
        noise = Noise(key, torch.arange(start, stop, device=device))
        with evaluating(network):
            bits = family.bits_per_dim(network, images, labels, noise, evaluator.settings.likelihood().points)
        for metric in metrics.values():
            metric.update(bits)
    scores, signals, _ = computed(evaluator, metrics)
    return scores, signals


def draw(
    family: Family, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None
) -> UInt8[Tensor, "n c h w"]:
    """Sampled images as bytes.  The network runs in evaluation mode, then returns to its former mode.

    The family sets the precision, not the training.
    """
    with evaluating(network):
        return to_uint8(family.sample(network, noise, labels if family.classes else None))


def sample_labels(counts: Sequence[int], noise: Noise) -> Int[Tensor, " n"]:
    """Draw the class of each image at random, in proportion to the class counts.

    The bias and the interval of a distance assume independent images.
    """
    ends = torch.tensor(counts, device=noise.samples.device).cumsum(0)
    picks = noise.integers(int(ends[-1]), stream=LABEL_STREAM)
    return torch.searchsorted(ends, picks.contiguous(), right=True)
