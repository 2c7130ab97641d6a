"""The training step of gensweep's U-Net against diffusers' UNet2DModel of the same number of parameters.

    .venv/bin/python benchmarks/train_step.py
    .venv/bin/python benchmarks/train_step.py --width 128 --batch 128 --steps 20     # a GPU is taken if there is one

One step is forward, mean squared error, backward, clipping, Adam and the moving average, the same code for every
contender.  Both networks have three levels with two blocks each, scale and shift by time, attention at 16 px and in
the middle with heads of up to 64 channels, and dropout 0.1; diffusers' channels are the nearest to gensweep's own that
bring its parameters within 2 %.  Contenders take turns, in a rotating order, and the median over the rounds is
reported.  Each network runs in PyTorch's default memory format and in channels-last; the first line is what gensweep
trains in on this device and in this precision, diffusers' examples use the default.  FLOPs are counted by
torch.utils.flop_counter, forward and backward together.
Take numbers on a quiet machine: threads that wait for each other make a busy one many times slower, at random.

Prints a table and writes benchmarks/results/train_step-DATE-widthW-batchB-DTYPE.json.
"""

from __future__ import annotations

import datetime
import itertools
import json
import math
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import click
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gensweep.nn.unet import UNet
from gensweep.training.loop import place, uses_bfloat16
from gensweep.training.settings import Precision

RESULTS = Path(__file__).parent / "results"
CHANNELS = 3
DROPOUT = 0.1
TOLERANCE = 0.02

Predict = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass
class Contender:
    """One network in one memory format, with everything that its training step needs."""

    name: str
    network: nn.Module
    predict: Predict
    memory_format: torch.memory_format
    flops: int  # of one step, forward and backward
    seconds: list[float] = field(default_factory=list)

    def prepare(self, device: torch.device) -> None:
        """Move to the device, and make the optimizer and the moving average."""
        self.network = self.network.to(device, memory_format=self.memory_format).train()
        self.weights = list(self.network.parameters())
        self.optimizer = torch.optim.Adam(self.weights, lr=2e-4, fused=True)
        self.average = [weight.detach().clone() for weight in self.weights]

    def step(self, x: Tensor, time: Tensor, noise: Tensor, dtype: torch.dtype) -> None:
        """One training step, complete."""
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            loss = F.mse_loss(self.predict(self.network, x, time).float(), noise)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights, 1e-3)


def predict_gensweep(network: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    """Labels of None: unconditional."""
    return network(x, time, None)


def predict_diffusers(network: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    """The output is an object with the field `sample`."""
    return network(x, time).sample


def diffusers_unet(size: int, outer: int, inner: int) -> nn.Module:
    """UNet2DModel with `outer` channels at full resolution and `inner` below, else as gensweep's U-Net."""
    from diffusers import UNet2DModel

    attends = [size >> level == 16 for level in range(3)]
    groups = math.gcd(32, math.gcd(outer, inner))
    heads = next(heads for heads in range(-(-inner // 64), inner + 1) if inner % heads == 0)
    return UNet2DModel(
        sample_size=size,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(outer, inner, inner),
        down_block_types=tuple("AttnDownBlock2D" if attend else "DownBlock2D" for attend in attends),
        up_block_types=tuple("AttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends)),
        layers_per_block=2,
        dropout=DROPOUT,
        attention_head_dim=inner // heads,
        norm_num_groups=groups,
        attn_norm_num_groups=groups,
        resnet_time_scale_shift="scale_shift",
    )


def parameters(network: nn.Module) -> int:
    """How many weights a network has."""
    return sum(weight.numel() for weight in network.parameters())


def matching_channels(size: int, target: int, width: int) -> tuple[int, int]:
    """The channels (outer, inner), nearest to gensweep's own, that give UNet2DModel `target` parameters within 2 %."""

    def distance(channels: tuple[int, int]) -> float:
        outer, inner = channels
        return abs(math.log(outer / width)) + abs(math.log(inner / (2 * width)))

    grid = itertools.product(range(8, 2 * width + 1, 8), range(16, 4 * width + 1, 8))
    for outer, inner in sorted(grid, key=distance)[:500]:
        with torch.device("meta"):
            error = parameters(diffusers_unet(size, outer, inner)) / target - 1
        if abs(error) <= TOLERANCE:
            return outer, inner
    raise click.ClickException(f"no UNet2DModel is within {TOLERANCE:.0%} of {target:,} parameters; try --width 64")


def flops_of_step(make: Callable[[], nn.Module], predict: Predict, batch: int, size: int) -> int:
    """Floating point operations of a forward and backward pass; nothing is computed."""
    with torch.device("meta"):
        network = make()
        x, time = torch.empty(batch, CHANNELS, size, size), torch.empty(batch)
    # Attention by plain matrix products, the only form that the counter knows on every device.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        predict(network, x, time).sum().backward()
    return counter.get_total_flops()


def contenders(
    width: int, batch: int, size: int, device: torch.device, precision: Precision
) -> tuple[list[Contender], dict[str, Any]]:
    """Both networks in both memory formats, gensweep's own choice first, and how diffusers' was configured."""

    def ours() -> nn.Module:
        return UNet(CHANNELS, size, 0, width=width, multipliers=(1, 2, 2), blocks=2, attention=(16,), dropout=DROPOUT)

    outer, inner = matching_channels(size, parameters(ours()), width)

    def theirs() -> nn.Module:
        return diffusers_unet(size, outer, inner)

    formats = {"channels-last": torch.channels_last, "default": torch.contiguous_format}
    weight = place(ours(), device, precision).first.weight
    if not weight.is_contiguous(memory_format=torch.channels_last):
        formats = dict(reversed(formats.items()))
    entries = []
    for label, make, predict in (("gensweep", ours, predict_gensweep), ("diffusers", theirs, predict_diffusers)):
        flops = flops_of_step(make, predict, batch, size)
        entries += [Contender(f"{label}, {name}", make(), predict, form, flops) for name, form in formats.items()]
    return entries, {"block_out_channels": [outer, inner, inner]}


def race(
    entries: list[Contender], device: torch.device, dtype: torch.dtype, batch: int, size: int, rounds: int, steps: int
) -> None:
    """Let the contenders take turns; seconds a step go to each of them."""

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(batch, CHANNELS, size, size, generator=generator).to(device) for _ in range(2))
    times = (1000 * torch.rand(batch, generator=generator)).to(device)
    inputs = {form: x.to(memory_format=form) for form in {entry.memory_format for entry in entries}}
    for entry in entries:
        entry.prepare(device)
        for _ in range(steps):
            entry.step(inputs[entry.memory_format], times, noise, dtype)
    for turn in range(rounds):
        first = turn % len(entries)
        for entry in entries[first:] + entries[:first]:
            synchronize()
            start = time.perf_counter()
            for _ in range(steps):
                entry.step(inputs[entry.memory_format], times, noise, dtype)
            synchronize()
            entry.seconds.append((time.perf_counter() - start) / steps)


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


def rows(entries: list[Contender], batch: int) -> list[Row]:
    """Medians, and ratios to the first contender (gensweep as it trains)."""
    medians = [statistics.median(entry.seconds) for entry in entries]
    return [
        Row(
            name=entry.name,
            parameters=parameters(entry.network),
            gflop_per_step=round(entry.flops / 1e9, 3),
            ms_per_step=round(1e3 * median, 2),
            ms_lowest=round(1e3 * min(entry.seconds), 2),
            ms_highest=round(1e3 * max(entry.seconds), 2),
            images_per_second=round(batch / median, 2),
            gflop_per_second=round(entry.flops / median / 1e9, 1),
            time_against_gensweep=round(median / medians[0], 3),
        )
        for entry, median in zip(entries, medians, strict=True)
    ]


def print_table(table: list[Row]) -> None:
    """The table, for people."""
    print(f"{'':26}{'parameters':>12}{'GFLOP/step':>12}{'ms/step':>10}{'(low..high)':>20}{'images/s':>10}{'ratio':>8}")
    for row in table:
        spread = f"({row.ms_lowest:.1f}..{row.ms_highest:.1f})"
        print(
            f"{row.name:26}{row.parameters:12,}{row.gflop_per_step:12.2f}{row.ms_per_step:10.1f}{spread:>20}"
            f"{row.images_per_second:10.1f}{row.time_against_gensweep:8.2f}"
        )
    print("ratio: time of a step divided by that of the first line; above 1, gensweep is faster")


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on."""
    cpu = next(
        (line.partition(": ")[2] for line in _cpuinfo().splitlines() if line.startswith("model name")),
        platform.machine(),
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True)
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
    }


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


@click.command(context_settings={"show_default": True})
@click.option("--width", type=click.IntRange(8), default=64, help="Channels of gensweep's U-Net at full resolution.")
@click.option("--batch", type=click.IntRange(1), default=8, metavar="IMAGES", help="Images a step.")
@click.option("--size", type=click.IntRange(8), default=32, metavar="PX", help="Height and width of an image.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", help="auto: as gensweep.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; by default PyTorch's choice.", show_default=False)
@click.option("--rounds", type=click.IntRange(1), default=7, help="Turns of every contender.")
@click.option("--steps", type=click.IntRange(1), default=1, help="Steps a turn, and to warm up.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="Where to run.")
def main(
    width: int, batch: int, size: int, dtype: str, threads: int | None, rounds: int, steps: int, device: str
) -> None:
    """Compare the training step of gensweep's U-Net with diffusers' UNet2DModel."""
    if threads:
        torch.set_num_threads(threads)
    where = torch.device(device)
    if dtype == "auto":
        dtype = "bfloat16" if uses_bfloat16("auto", where) else "float32"
    torch.manual_seed(0)
    entries, configuration = contenders(width, batch, size, where, cast(Precision, dtype))
    race(entries, where, getattr(torch, dtype), batch, size, rounds, steps)
    table = rows(entries, batch)
    print_table(table)
    date = datetime.datetime.now(tz=datetime.UTC)
    result = {
        "benchmark": "train_step",
        "date": date.isoformat(timespec="seconds"),
        "settings": {"width": width, "batch": batch, "size": size, "dtype": dtype, "rounds": rounds, "steps": steps},
        "machine": machine(where),
        "diffusers": configuration,
        "rows": [asdict(row) for row in table],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"train_step-{date:%Y-%m-%d}-width{width}-batch{batch}-{dtype}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
