"""The training step of gensweep's U-Net against those of diffusers and lucidrains, of as many parameters.

    .venv/bin/python benchmarks/train_step.py
    .venv/bin/python benchmarks/train_step.py --width 32 --width 64 --width 96 --width 128 --batch 16
    .venv/bin/python benchmarks/train_step.py --width 128 --batch 128 --steps 20     # a GPU is taken if there is one

One step is forward, mean squared error, backward, clipping, Adam and the moving average, the same code for every
contender.  All networks have three levels with two blocks each, scale and shift by time, attention at 16 px and in
the middle, and dropout 0.1; the channels of diffusers' UNet2DModel are the nearest to gensweep's own that bring its
parameters within 2 %, those of the Unet of denoising-diffusion-pytorch (which attends at every level, mostly in
linear time) as near as a multiple of 4 allows; without that package (pip install -e '.[benchmarks]') it is left out.
Contenders take turns, in a rotating order, and the median over the rounds is reported.  Each network runs in PyTorch's
default memory format and in channels-last, in float32 and under autocast to bfloat16 (or in one of them: --dtype).  The
first line is gensweep's fastest, which a sweep finds by itself; the last ones compare it with the fastest of each peer.
FLOPs are counted by torch.utils.flop_counter, forward and backward together, and compared with a product of square
matrices in the same precision; memory is that of the tensors that a step makes, at the fullest moment.
The process keeps freed memory, as that of a trial does, which speeds up all of them.
Take numbers on a quiet machine: threads that wait for each other make a busy one many times slower, at random.  On a
busy one, --threads 1 --clock cpu measures the time that the steps compute.

Prints a table and writes benchmarks/results/train_step-DATE-PROCESSOR-widthW-batchB-DTYPE.json.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import click
import torch
from dated_results import machine, write_result
from measuring import CLOCKS, Contender, Row, matmul_flops, parameters, peak_bytes, print_table, rows, take_turns
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gensweep.nn.unet import UNet
from gensweep.training.device import keep_freed_memory

CHANNELS = 3
DROPOUT = 0.1
TOLERANCE = 0.02

Predict = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass
class Trained:
    """One network in one memory format, with everything that its training step needs."""

    name: str
    network: nn.Module
    predict: Predict
    memory_format: torch.memory_format
    dtype: torch.dtype
    flops: int  # of one step, forward and backward

    def prepare(self, device: torch.device) -> None:
        """Move to the device, and make the optimizer and the moving average."""
        self.network = self.network.to(device, memory_format=self.memory_format).train()
        self.weights = list(self.network.parameters())
        self.optimizer = torch.optim.Adam(self.weights, lr=2e-4, fused=True)
        self.average = [weight.detach().clone() for weight in self.weights]

    def step(self, x: Tensor, time: Tensor, noise: Tensor) -> None:
        """One training step, complete."""
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
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


def lucidrains_unet(target: int) -> Callable[[], nn.Module] | None:
    """What makes the Unet of denoising-diffusion-pytorch with about so many parameters; None without that package."""
    try:
        from denoising_diffusion_pytorch import Unet
    except ImportError:
        click.echo("lucidrains' U-Net is left out: pip install -e '.[benchmarks]'", err=True)
        return None
    make = partial(Unet, dim_mults=(1, 2, 2), channels=CHANNELS, dropout=DROPOUT, full_attn=(False, True, False))

    def distance(dim: int) -> float:
        with torch.device("meta"):
            return abs(parameters(make(dim)) / target - 1)

    return partial(make, min(range(8, 512, 4), key=distance))


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


def networks(width: int, batch: int, size: int, dtypes: Sequence[torch.dtype]) -> tuple[list[Trained], dict[str, Any]]:
    """The networks in each precision and memory format, and how diffusers' was configured."""

    def ours() -> nn.Module:
        return UNet(CHANNELS, size, 0, width=width, multipliers=(1, 2, 2), blocks=2, attention=(16,), dropout=DROPOUT)

    outer, inner = matching_channels(size, parameters(ours()), width)

    def theirs() -> nn.Module:
        return diffusers_unet(size, outer, inner)

    formats = {"channels-last": torch.channels_last, "default": torch.contiguous_format}
    kinds = [("gensweep", ours, predict_gensweep), ("diffusers", theirs, predict_diffusers)]
    if (other := lucidrains_unet(parameters(ours()))) is not None:
        kinds.append(("lucidrains", other, lambda network, x, time: network(x, time)))
    entries = []
    for label, make, predict in kinds:
        flops = flops_of_step(make, predict, batch, size)
        entries += [
            Trained(f"{label}, {short(dtype)}, {name}", make(), predict, form, dtype, flops)
            for dtype in dtypes
            for name, form in formats.items()
        ]
    return entries, {"block_out_channels": [outer, inner, inner]}


def short(dtype: torch.dtype) -> str:
    """The name of a precision without that of the library."""
    return str(dtype).removeprefix("torch.")


def contenders(entries: list[Trained], device: torch.device, batch: int, size: int) -> list[Contender]:
    """Each network with a batch of its own format at hand."""
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(batch, CHANNELS, size, size, generator=generator).to(device) for _ in range(2))
    times = (1000 * torch.rand(batch, generator=generator)).to(device)

    def contender(entry: Trained) -> Contender:
        entry.prepare(device)
        mine = x.to(memory_format=entry.memory_format)
        count = parameters(entry.network)
        return Contender(entry.name, count, lambda: entry.step(mine, times, noise), entry.flops)

    return [contender(entry) for entry in entries]


@click.command(context_settings={"show_default": True})
@click.option("--width", "widths", type=click.IntRange(8), multiple=True, default=(64,), help="Of gensweep's U-Net.")
@click.option("--batch", type=click.IntRange(1), default=8, metavar="IMAGES", help="Images a step.")
@click.option("--size", type=click.IntRange(8), default=32, metavar="PX", help="Height and width of an image.")
@click.option("--dtype", type=click.Choice(["both", "float32", "bfloat16"]), default="both", help="Of the networks.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; by default PyTorch's choice.", show_default=False)
@click.option("--rounds", type=click.IntRange(1), default=7, help="Turns of every contender.")
@click.option("--steps", type=click.IntRange(1), default=1, help="Steps a turn, and to warm up.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: of this process alone.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="Where to run.")
def main(
    widths: tuple[int, ...],
    batch: int,
    size: int,
    dtype: str,
    threads: int | None,
    rounds: int,
    steps: int,
    clock: str,
    device: str,
) -> None:
    """Compare the training step of gensweep's U-Net with diffusers' UNet2DModel, at one width after the other."""
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    where = torch.device(device)
    dtypes = [torch.float32, torch.bfloat16] if dtype == "both" else [getattr(torch, dtype)]
    torch.manual_seed(0)
    products = {short(each): matmul_flops(each, where, CLOCKS[clock]) for each in dtypes}
    for width in widths:
        entries, configuration = networks(width, batch, size, dtypes)
        ready = contenders(entries, where, batch, size)
        take_turns(ready, where, rounds, steps, CLOCKS[clock])
        ready.sort(key=lambda each: (not each.name.startswith("gensweep"), statistics.median(each.seconds)))
        table, peaks = rows(ready, batch), {each.name: peak_bytes(each.step) for each in ready}
        print(f"\nwidth {width}")
        print_table(table)
        print_shares(table, peaks, products)
        for label in dict.fromkeys(row.name.partition(",")[0] for row in table[1:]):
            peers = [row for row in table if row.name.startswith(label) and label != "gensweep"]
            if peers:
                peer = min(peers, key=lambda row: row.ms_per_step)
                print(f"{table[0].name} against {peer.name}: {peer.time_against_gensweep:.2f}")
        settings = {"width": width, "batch": batch, "size": size, "dtype": dtype, "rounds": rounds, "steps": steps}
        write_result(
            "train_step",
            f"width{width}-batch{batch}-{dtype}-{torch.get_num_threads()}threads",
            settings=settings | {"clock": clock},
            machine=machine(where) | {"diffusers": version("diffusers")},
            rows=[asdict(row) for row in table],
            diffusers=configuration,
            matmul_gflop_per_second={name: round(product / 1e9, 1) for name, product in products.items()},
            peak_bytes=peaks,
        )


def print_shares(table: Sequence[Row], peaks: Mapping[str, int], products: Mapping[str, float]) -> None:
    """How near each comes to a plain matrix product of its precision, and how much memory it takes."""
    for row in table:
        product = next(product for name, product in products.items() if name in row.name)
        share = row.gflop_per_second * 1e9 / product
        print(f"{row.name:36}{share:6.0%} of a matrix product's FLOP/s, {peaks[row.name] / 1e6:,.0f} MB at most")
    for name, product in products.items():
        print(f"matrix product, {name}: {product / 1e9:,.0f} GFLOP/s")


if __name__ == "__main__":
    main()
