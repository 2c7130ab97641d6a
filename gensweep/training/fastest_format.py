"""Which precision and memory format a family's networks are fastest in, by a step of them in each, on one device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias, TypeVar

import torch

from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import Batch, Family
from gensweep.nn.precision import mixed_precision
from gensweep.noise import Noise
from gensweep.training.cost import counted_calls, trained_parameters, training_flops
from gensweep.training.device import place, synchronised_time

K = TypeVar("K")

MeasuredPrecision: TypeAlias = Literal["float32", "bfloat16"]

#: Seconds for training steps, and for calls of the network that draws samples.
TRAINING_PATIENCE, SAMPLING_PATIENCE = 1.2, 0.4
#: Operations of a step that is timed, a tenth of a second of a fast core.  With fewer images what a step takes for any
#: number of them would decide, such as transforming the filters.
STEP_FLOPS = 1.2e10
#: A slower candidate than so many times the fastest is not timed again.
OUT_OF_QUESTION = 1.3
#: Half of the digits, or an unusual order, must gain more than this; less is within the errors of the clock.
WORTHWHILE = 1.05
#: Turns of all candidates, at most.
MAX_TURNS = 5


class Format(NamedTuple):
    """How the networks are computed."""

    precision: MeasuredPrecision
    memory_format: Literal["channels_last", "contiguous"]


#: The former come first where they are as fast.
FORMATS = tuple(
    Format(precision, memory_format)
    for precision in ("float32", "bfloat16")
    for memory_format in ("channels_last", "contiguous")
)


class FormatTimes(NamedTuple):
    """Seconds of a training step and of a call of the network that draws samples, each in the candidates.

    `sampling` is empty for a family whose samples are always drawn in float32.
    """

    training: Mapping[Format, float]
    sampling: Mapping[MeasuredPrecision, float]

    @property
    def fastest(self) -> Format:
        """The one to train in."""
        return _worthwhile(self.training)

    @property
    def sampling_precision(self) -> MeasuredPrecision:
        """The one to draw samples in."""
        return _worthwhile(self.sampling) if self.sampling else "float32"


def time_formats(family: Family, images: Images, device: torch.device, most_images: int) -> FormatTimes:
    """Time forward and backward passes of all networks in each format, and calls in each precision.

    A call is one of the network that draws samples, in the format that is the fastest to train in.  A step has at most
    so many images.  It takes under 2 s unless one step takes long.  The networks end up on the device.
    """
    supported = device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported(False))
    formats = [each for each in FORMATS if supported or each.precision == "float32"]
    for module in (*family.networks.values(), *family.memories.values()):
        module.to(device).train()
    loader = Loader(images, seed=0, device=device)
    count = max(2, min(most_images, int(STEP_FLOPS / training_flops(family, loader))))

    def step(form: Format) -> None:
        drawn = loader.batch(0, count)
        losses = family.losses(family.networks, Batch(drawn.images, drawn.labels, Noise(0, drawn.positions), count))
        while True:
            with mixed_precision(form.precision, device):
                loss = next(losses, None)
            if loss is None:
                break
            torch.autograd.backward(loss.value)
        for weight in trained_parameters(family):
            weight.grad = None

    def arrange(form: Format) -> None:
        for network in family.networks.values():
            place(network, device, form.precision, form.memory_format)

    training = take_turns(formats, step, device, TRAINING_PATIENCE, arrange)
    if not hasattr(family, "sampling_precision"):
        return FormatTimes(training, {})
    arrange(_worthwhile(training))
    probe = counted_calls(family)

    def call(precision: MeasuredPrecision) -> None:
        with mixed_precision(precision, device):
            probe.run(count)

    precisions = list(dict.fromkeys(form.precision for form in formats))
    return FormatTimes(training, take_turns(precisions, call, device, SAMPLING_PATIENCE))


def take_turns(
    candidates: list[K],
    work: Callable[[K], None],
    device: torch.device,
    patience: float,
    prepare: Callable[[K], None] = lambda candidate: None,
) -> dict[K, float]:
    """The shortest time of each candidate's work, after one to warm up; turns end once `patience` seconds are over.

    Each has one turn at least; what is far behind takes no further ones.
    """
    started, best = _now(device), dict.fromkeys(candidates, math.inf)
    for turn in range(MAX_TURNS + 1):
        for candidate in candidates:
            if turn > 1 and best[candidate] > OUT_OF_QUESTION * min(best.values()):
                continue
            prepare(candidate)
            before = _now(device)
            work(candidate)
            seconds = _now(device) - before
            best[candidate] = min(best[candidate], seconds) if turn > 1 else seconds  # the first turn warms up
        if turn and _now(device) - started > patience:
            break
    return best


def _now(device: torch.device) -> float:
    """Seconds, for differences: of one thread those that it computes, which other programs and threads disturb less."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time() if alone else synchronised_time(device)


def _worthwhile(seconds: Mapping[K, float]) -> K:
    """The first of those that no other one is clearly faster than."""
    least = min(seconds.values())
    return next(candidate for candidate, each in seconds.items() if each <= WORTHWHILE * least)
