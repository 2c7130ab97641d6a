"""What the benchmarks of steps and samples share: turns, medians, the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import nn

from gensweep.data.images import Images
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.metric import Metric
from gensweep.training.cost import LiveBytes
from gensweep.training.evaluation import Evaluator
from gensweep.training.settings import EvaluationSettings, LikelihoodSettings, TrainingSettings

__all__ = [
    "CLOCKS",
    "Contender",
    "Row",
    "evaluator",
    "matmul_flops",
    "parameters",
    "peak_bytes",
    "print_table",
    "rows",
    "take_turns",
]

#: The time that passes, or the time that this process computes: with one thread, other programs disturb it less.
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def evaluator(extractor: Extractor, metrics: Mapping[str, Metric], images: Images, batch_size: int) -> Evaluator:
    """What scores as many images as there are, with labels like theirs."""
    settings = EvaluationSettings(
        samples=len(images),
        batch_size=batch_size,
        metrics=tuple(metrics),
        extractor=lambda device, cache: extractor,
        likelihood=LikelihoodSettings,
    )
    identities = {
        name: settings.identity(name, TrainingSettings(), reference=images.name, extractor=extractor.id)
        for name in metrics
    }
    return Evaluator(settings, images, extractor, metrics, identities)


@dataclass
class Contender:
    """Something that takes training steps, its number of parameters, and the FLOPs of a step, forward and backward."""

    name: str
    parameters: int
    step: Callable[[], None]
    flops: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    parameters: int
    gflop_per_step: float
    ms_per_step: float
    ms_lowest: float
    ms_highest: float
    images_per_second: float
    gflop_per_second: float
    time_against_gensweep: float  # more than 1: gensweep's step is that many times as fast


def take_turns(
    contenders: Sequence[Contender],
    device: torch.device,
    rounds: int,
    steps: int,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Let the contenders warm up and take turns, in a rotating order; seconds a step go to each of them."""

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def steps_of(contender: Contender) -> float:
        synchronize()
        start = clock()
        for _ in range(steps):
            contender.step()
        synchronize()
        return (clock() - start) / steps

    for contender in contenders:
        steps_of(contender)
    for turn in range(rounds):
        first = turn % len(contenders)
        for contender in [*contenders[first:], *contenders[:first]]:
            contender.seconds.append(steps_of(contender))


def matmul_flops(
    dtype: torch.dtype, device: torch.device, clock: Callable[[], float] = time.perf_counter, size: int = 2048
) -> float:
    """FLOP/s of a product of two square matrices of `size` rows: the best of ten."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(12):
        start = clock()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(clock() - start)
    return float(2 * size**3 / min(seconds[2:]))


def peak_bytes(step: Callable[[], object]) -> int:
    """The most bytes of tensors that a step makes on top of what is there, such as weights and their averages."""
    with LiveBytes() as live:
        step()
    return max(accumulate(live.changes), default=0)


def parameters(network: nn.Module) -> int:
    """How many weights a network has."""
    return sum(weight.numel() for weight in network.parameters())


def rows(contenders: Sequence[Contender], batch: int) -> list[Row]:
    """Medians, and ratios to the first contender (gensweep as it trains)."""
    medians = [statistics.median(contender.seconds) for contender in contenders]
    return [
        Row(
            name=contender.name,
            parameters=contender.parameters,
            gflop_per_step=round(contender.flops / 1e9, 3),
            ms_per_step=round(1e3 * median, 2),
            ms_lowest=round(1e3 * min(contender.seconds), 2),
            ms_highest=round(1e3 * max(contender.seconds), 2),
            images_per_second=round(batch / median, 2),
            gflop_per_second=round(contender.flops / median / 1e9, 1),
            time_against_gensweep=round(median / medians[0], 3),
        )
        for contender, median in zip(contenders, medians, strict=True)
    ]


def print_table(table: Sequence[Row]) -> None:
    """The table, for people."""
    print(f"{'':36}{'parameters':>12}{'GFLOP/step':>12}{'ms/step':>10}{'(low..high)':>20}{'images/s':>10}{'ratio':>8}")
    for row in table:
        spread = f"({row.ms_lowest:.1f}..{row.ms_highest:.1f})"
        print(
            f"{row.name:36}{row.parameters:12,}{row.gflop_per_step:12.2f}{row.ms_per_step:10.1f}{spread:>20}"
            f"{row.images_per_second:10.1f}{row.time_against_gensweep:8.2f}"
        )
    print("ratio: time of a step divided by that of the first line; above 1, gensweep is faster")
