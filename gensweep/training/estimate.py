"""The cost of a trial, estimated from a few seconds of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from gensweep.cache import cache_folder
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import Family
from gensweep.nn.precision import mixed_precision
from gensweep.training.cost import activation_bytes, counted_calls, likelihood_calls, trained_parameters
from gensweep.training.device import synchronised_time
from gensweep.training.evaluation import drawing_in
from gensweep.training.learner_state import state_of
from gensweep.training.loop import Learner
from gensweep.training.settings import EvaluationSettings, TrainingSettings

#: Images of a batch that is timed.
TIMED_IMAGES = 16
#: Training steps that are timed together, at most, for losses that do not come in every step.
MAX_TIMED_STEPS = 16


class Timing(NamedTuple):
    """Seconds of this machine for one training image, one image in a call of the network that draws, and its features.

    `activation_bytes` is for each image of the worker's batch; `state_bytes` are weights, averages, gradients and the
    optimizer's.
    """

    training: float
    call: float
    features: float
    activation_bytes: int
    state_bytes: int


class CostEstimate(NamedTuple):
    """After how many images a trial ends, the seconds that it takes, and the memory of a worker's training step."""

    images: int
    train_seconds: float
    sample_seconds: float
    evaluate_seconds: float
    timing: Timing

    def memory_bytes(self, images: int) -> int:
        """Memory of a training step with `images` on a worker; the data set and programs come on top."""
        return self.timing.state_bytes + images * self.timing.activation_bytes

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.train_seconds + self.sample_seconds + self.evaluate_seconds


def time_networks(learner: Learner, images: Images, evaluation: EvaluationSettings, *, patience: float = 2.0) -> Timing:
    """Time training steps, a call of the network that draws samples, and the extractor.

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
    return Timing(
        training=step / training.batch_size,
        call=call,
        features=0.0 if extractor is None else _seconds(lambda: extractor(pixels), device, patience) / TIMED_IMAGES,
        activation_bytes=activation_bytes(learner.family, loader, learner.autocast),
        state_bytes=state_bytes(learner),
    )


def state_bytes(learner: Learner) -> int:
    """Bytes of weights, averages, gradients and, after a step, the optimizer's moments."""
    return sum(tensor.nbytes for tensor in (*state_of(learner).values(), *trained_parameters(learner.family)))


def estimate_cost(
    timing: Timing,
    family: Family,
    images: Images,
    training: TrainingSettings,
    evaluation: EvaluationSettings,
    *,
    workers: int = 1,
) -> CostEstimate:
    """What a trial of such networks costs on `workers` of this machine's speed."""
    length = training.images
    if training.device_seconds is not None:
        length = min(length, int(training.device_seconds / timing.training))
    evaluations = len(evaluation.rungs(length)) + 1
    samples, early = evaluation.drawn(last=True), (evaluations - 1) * evaluation.drawn(last=False)
    calls = counted_calls(family).calls * samples
    calls += counted_calls(drawing_in(evaluation.rung_steps, family)).calls * early
    held_out = evaluations * evaluation.likelihood().images if evaluation.of("likelihood") else 0
    looks = held_out * likelihood_calls(family, images, evaluation.likelihood()).calls if held_out else 0
    return CostEstimate(
        images=length,
        train_seconds=timing.training * length / workers,
        sample_seconds=timing.call * calls / workers,
        evaluate_seconds=(timing.features * (early + samples) + timing.call * looks) / workers,
        timing=timing,
    )


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
