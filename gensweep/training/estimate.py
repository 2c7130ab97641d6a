"""The cost of a trial, estimated from a few seconds of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from gensweep.cache import cache_folder
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import Family, Likelihood
from gensweep.nn.precision import mixed_precision
from gensweep.noise import Noise
from gensweep.training.cost import CallCounter, activation_bytes, counted_calls, trained_parameters
from gensweep.training.device import synchronised_time
from gensweep.training.evaluation import drawing_in
from gensweep.training.learner_state import state_of
from gensweep.training.loop import Learner
from gensweep.training.settings import EvaluationSettings, LikelihoodSettings

#: Images of a batch that is timed.
TIMED_IMAGES = 16
#: Training steps that are timed together, at most, for losses that do not come in every step.
MAX_TIMED_STEPS = 16


class CostEstimate(NamedTuple):
    """Seconds that a trial takes, and the memory of a worker's training step.

    `activation_bytes` is for each image of the worker's batch; `state_bytes` are weights, averages, gradients and the
    optimizer's.
    """

    train_seconds: float
    sample_seconds: float
    evaluate_seconds: float
    activation_bytes: int
    state_bytes: int

    def memory_bytes(self, images: int) -> int:
        """Memory of a training step with `images` on a worker; the data set and programs come on top."""
        return self.state_bytes + images * self.activation_bytes

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.train_seconds + self.sample_seconds + self.evaluate_seconds


def time_trial(
    learner: Learner, images: Images, evaluation: EvaluationSettings, *, workers: int = 1, patience: float = 2.0
) -> CostEstimate:
    """Time training steps, a call of the network that draws samples, and the extractor; the rest is multiplication.

    Each of the three takes about `patience` seconds, or one repetition if that is longer.  The learner moves on.
    """
    training, device = learner.training, learner.device
    loader = Loader(images, seed=learner.seed, device=device)
    extractor = evaluation.extractor(device, cache_folder()) if evaluation.of("samples") else None
    probe = counted_calls(learner.family)
    pixels = torch.zeros(TIMED_IMAGES, *images.shape, dtype=torch.uint8, device=device)
    step = _seconds(lambda: _steps(learner, loader), device, patience) / min(learner.period, MAX_TIMED_STEPS)
    with mixed_precision(getattr(learner.family, "sampling_precision", "float32"), device):
        call = _seconds(lambda: probe.run(TIMED_IMAGES), device, patience) / TIMED_IMAGES
    look = 0.0 if extractor is None else _seconds(lambda: extractor(pixels), device, patience) / TIMED_IMAGES
    evaluations = math.ceil(training.images / evaluation.interval(training))
    samples, early = evaluation.drawn(last=True), (evaluations - 1) * evaluation.drawn(last=False)
    calls_early = counted_calls(drawing_in(evaluation.rung_steps, learner.family)).calls
    held_out = evaluations * evaluation.likelihood().images if evaluation.of("likelihood") else 0
    calls = _likelihood_calls(learner.family, loader, evaluation.likelihood()) if held_out else 0
    return CostEstimate(
        train_seconds=step / training.batch_size * training.images / workers,
        sample_seconds=call * (calls_early * early + probe.calls * samples) / workers,
        evaluate_seconds=(look * (early + samples) + call * calls * held_out) / workers,
        activation_bytes=activation_bytes(learner.family, loader, learner.autocast),
        state_bytes=sum(tensor.nbytes for tensor in (*state_of(learner).values(), *trained_parameters(learner.family))),
    )


def _likelihood_calls(family: Family, loader: Loader, settings: LikelihoodSettings) -> int:
    """Network calls that the likelihood of an image takes; 0 for a family that has none."""
    if not isinstance(family, Likelihood):
        return 0
    probe, drawn = CallCounter(family.networks[family.sampled]), loader.batch(0, 1)
    labels = drawn.labels if family.classes else None
    with torch.no_grad():
        family.bits_per_dim(probe, drawn.images, labels, Noise(0, drawn.positions), settings.timesteps)
    return probe.calls


def _steps(learner: Learner, loader: Loader) -> None:
    """Training steps of a whole period, in which every loss comes as often as in the average step."""
    learner.step(loader)
    for _ in range(min(learner.period, MAX_TIMED_STEPS) - 1):
        learner.step(loader)


def _seconds(work: Callable[[], object], device: torch.device, patience: float) -> float:
    """Seconds of one repetition, the fastest of several; the first is slow and counts only if it is the only one."""
    best, spent = math.inf, 0.0
    for repetition in range(20):
        started = synchronised_time(device)
        work()
        seconds = synchronised_time(device) - started
        spent += seconds
        best = seconds if repetition == 1 else min(best, seconds)
        if spent > patience:
            break
    return best
