"""Is gensweep right and fast on this GPU?  One JSON says it; `make gpu` runs this script on a machine with PyTorch.

    make gpu
    .venv/bin/python benchmarks/gpu.py --device cpu --width 32 --batch 4 --seconds 120    # the same on a CPU, small

First, what must be right: random numbers, samples and losses are those of a CPU, a training resumes, no step waits for
the GPU, compiled networks have the losses of the others, workers of NCCL train like one, with two GPUs as two
processes, and memory is what `tune --dry-run` estimates.  Then, at each width of a U-Net (3 x 32 px, in bfloat16):
images a second of gensweep's whole training step, as it is, compiled, and with CUDA graphs; and of a plain step, the
same code for both, with gensweep's network and with diffusers' UNet2DModel of as many parameters, each in both memory
formats and compiled in the better of them.  FLOPs are counted by torch.utils.flop_counter and compared with a product
of square matrices of 8,192 rows on the same GPU.

What does not fit into --seconds is left out, the widest networks' compilation first, and listed in the result.
Prints what it finds, writes benchmarks/results/gpu-DATE-PROCESSOR-DEVICE.json, and exits with 1 if a check failed.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
import gpu_checks
import torch
from dated_results import machine, write_result
from gpu_checks import Check, backend, exact_float32, made, made_up
from measuring import Contender, Row, matmul_flops, parameters, print_table, rows, take_turns
from train_step import contenders, networks

from gensweep.config.models import bind, item_model
from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.training.cost import training_flops
from gensweep.training.device import Compilation, compiled
from gensweep.training.loop import Learner
from gensweep.training.settings import TrainingSettings

SIZE = 32
MODES: tuple[Compilation, ...] = get_args(Compilation)
#: The families whose networks are compiled in a check: a denoiser, and a game of two networks with a penalty.
COMPILED_FAMILIES = ("diffusion", "gan")
#: Seconds that compiling a network takes, as long as none has been compiled here.
FIRST_COMPILATION_SECONDS = 75.0
ROUNDS, GPU_STEPS = 5, 10


class Clock:
    """How much of the time allowed is left, and how long the slowest compilation took."""

    def __init__(self, seconds: float) -> None:
        self.ends, self.slowest, self.left_out = time.monotonic() + seconds, FIRST_COMPILATION_SECONDS, list[str]()
        self._first = True

    def allows(self, name: str, compilations: int = 0) -> bool:
        """Whether there is time for something; what there is none for is noted."""
        fits = time.monotonic() + compilations * self.slowest < self.ends
        if not fits:
            self.left_out.append(name)
        return fits

    def compiled(self, seconds: float) -> None:
        """Note how long a compilation took."""
        self.slowest = seconds if self._first else max(self.slowest, seconds)
        self._first = False


def unet_learner(width: int, batch: int, device: torch.device, compilation: Compilation) -> Learner:
    """A diffusion model in training as a sweep trains it, averages included."""
    torch.manual_seed(0)
    network = {"kind": "unet", "width": width, "multipliers": (1, 2, 2), "blocks": 2, "attention": (16,)}
    family = bind(item_model(FAMILIES, "diffusion").model_validate({"kind": "diffusion", "network": network}))
    training = TrainingSettings(
        batch_size=batch, precision="bfloat16", memory_format="channels_last", compilation=compilation
    )
    return Learner(family(3, SIZE, 0), training, seed=0, device=device)


def checks(device: torch.device, modes: Sequence[Compilation], compiler: str, clock: Clock) -> Iterator[Check]:
    """All but those of memory."""
    yield made(gpu_checks.noise, device)
    for kind in FAMILIES:
        for check in (gpu_checks.samples, gpu_checks.training, gpu_checks.resume, gpu_checks.waiting):
            yield made(check, kind, device)
    for kind in ("diffusion", "gan"):
        for world in (1, 2):
            yield made(gpu_checks.parallel, kind, device, world)
    for kind in COMPILED_FAMILIES:
        for mode in modes[1:]:
            if clock.allows(f"check of {kind}, compiled, {mode}", 2):
                yield made(gpu_checks.compilation, kind, device, mode, compiler)


def whole_steps(
    width: int, batch: int, device: torch.device, modes: Sequence[Compilation], clock: Clock
) -> tuple[list[Contender], list[Check]]:
    """Gensweep's training step in each mode, warm; and the memory of the one that is not compiled."""
    ready, found = [], []
    for mode in modes:
        name = f"whole step, {mode}"
        if not clock.allows(f"width {width}, {name}", int(mode != "none")):
            continue
        learner = unet_learner(width, batch, device, mode)
        loader = Loader(made_up(SIZE), seed=0, device=device)
        flops = int(batch * training_flops(learner.family, loader))
        seconds = warmed(learner, loader)
        if mode == "none":
            found.append(made(gpu_checks.memory, f"width {width}", learner, loader))
        else:
            clock.compiled(seconds)
        count = parameters(learner.family.networks[learner.family.sampled])
        ready.append(Contender(name, count, lambda learner=learner, loader=loader: learner.step(loader), flops))
    return ready, found


def warmed(learner: Learner, loader: Loader) -> float:
    """Seconds of the first steps, in which networks are compiled."""
    started = learner.time()
    for _ in range(3):
        learner.step(loader)
    return learner.time() - started


def plain_steps(
    width: int, batch: int, device: torch.device, modes: Sequence[Compilation], compiler: str, clock: Clock
) -> list[Contender]:
    """The same step with gensweep's and with diffusers' network, in both memory formats and compiled."""
    entries, _ = networks(width, batch, SIZE, [torch.bfloat16])
    entries = [entry for entry in entries if not entry.name.startswith("lucidrains")]
    plain = [copy.deepcopy(entry.network) for entry in entries]
    ready = contenders(entries, device, batch, SIZE)
    take_turns(ready, device, 1, 1)
    for label in ("gensweep", "diffusers"):
        mine = [index for index in range(len(plain)) if entries[index].name.startswith(label)]
        best = min(mine, key=lambda index: ready[index].seconds[-1])
        for mode in modes[1:]:
            name = f"{entries[best].name}, {mode}"
            if not clock.allows(f"width {width}, {name}", 1):
                continue
            started = time.monotonic()
            network = compiled(copy.deepcopy(plain[best]), mode, backend=compiler)
            contender, *_ = contenders([replace(entries[best], name=name, network=network)], device, batch, SIZE)
            contender.step = partial(step_of_graphs, contender.step)
            for _ in range(3):
                contender.step()
            clock.compiled(time.monotonic() - started)
            ready.append(contender)
    return ready


def step_of_graphs(step: Callable[[], None]) -> None:
    """A step that begins as those of the training loop do: once steps are marked, CUDA graphs wait for marks."""
    torch.compiler.cudagraph_mark_step_begin()
    step()


def measured(ready: Sequence[Contender], device: torch.device, batch: int) -> list[Row]:
    """The table of some contenders, of which the first is the one that others are compared with."""
    for each in ready:
        each.seconds.clear()
    take_turns(ready, device, ROUNDS, GPU_STEPS if device.type == "cuda" else 1)
    return rows(ready, batch)


def speed(
    width: int, batch: int, device: torch.device, modes: Sequence[Compilation], compiler: str, clock: Clock, peak: float
) -> tuple[dict[str, Any], list[Check]]:
    """What was measured at a width, and the check of its memory."""
    with backend(compiler):
        whole, found = whole_steps(width, batch, device, modes, clock)
    table = measured(whole, device, batch)
    plain = measured(plain_steps(width, batch, device, modes, compiler, clock), device, batch)
    print(f"\nwidth {width}, {batch} images a step")
    print_table(table)
    print_table(plain)
    best = {
        label: max((row for row in plain if row.name.startswith(label)), key=lambda row: row.images_per_second)
        for label in ("gensweep", "diffusers")
    }
    ratio = best["gensweep"].images_per_second / best["diffusers"].images_per_second
    shares = {row.name: row.gflop_per_second * 1e9 / peak for row in (*table, *plain)}
    for name, share in shares.items():
        print(f"{name:44}{share:6.1%} of a matrix product's FLOP/s")
    print(f"{best['gensweep'].name} against {best['diffusers'].name}: {ratio:.2f}")
    return {
        "width": width,
        "whole_steps": [asdict(row) for row in table],
        "plain_steps": [asdict(row) for row in plain],
        "share_of_matrix_product": {name: round(share, 4) for name, share in shares.items()},
        "best_against_best_of_diffusers": round(ratio, 3),
    }, found


def software(device: torch.device) -> dict[str, Any]:
    """The machine, and what a GPU's numbers depend on."""
    found = machine(device)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "gpus": torch.cuda.device_count(),
            "gpu_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def report(check: Check) -> None:
    """A line for people."""
    word = {True: "ok", False: "FAILED", None: "not made"}[check.passed]
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in check.numbers.items())
    print(f"{word:9}{check.name}: {numbers or check.note}", flush=True)


@click.command(context_settings={"show_default": True})
@click.option("--device", default="cuda", help="Where to run: cuda or cpu.")
@click.option("--width", "widths", type=click.IntRange(8), multiple=True, default=(64, 128, 256, 96, 192))
@click.option("--batch", type=click.IntRange(2), default=128, metavar="IMAGES", help="Images a step.")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="Of compilation; by default all.")
@click.option("--compiler", default="inductor", help="Backend of torch.compile; aot_eager compiles nothing.")
@click.option("--seconds", type=click.FloatRange(1), default=420.0, help="What takes longer is left out.")
@click.option("--out", type=click.Path(path_type=Path), help="The result's file, in place of one among the results.")
def main(
    device: str,
    widths: tuple[int, ...],
    batch: int,
    modes: tuple[Compilation, ...],
    compiler: str,
    seconds: float,
    out: Path | None,
) -> None:
    """Check and measure gensweep on a GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("PyTorch finds no GPU here; with --device cpu --width 32 --batch 4 a CPU tries it")
    where, started, clock = torch.device(device), time.monotonic(), Clock(seconds)
    wanted = modes or (MODES if device == "cuda" else MODES[:2])  # CUDA graphs are a GPU's
    chosen: tuple[Compilation, ...] = ("none", *(mode for mode in wanted if mode != "none"))
    exact_float32()
    found = []
    for check in checks(where, chosen, compiler, clock):
        report(check)
        found.append(check)
    product = matmul_flops(torch.bfloat16, where, size=8192 if device == "cuda" else 1024)
    print(f"matrix product, bfloat16: {product / 1e12:,.3f} TFLOP/s")
    speeds = []
    for width in widths:
        if not clock.allows(f"width {width}"):
            continue
        measurement, more = speed(width, batch, where, chosen, compiler, clock, product)
        speeds.append(measurement)
        for check in more:
            report(check)
        found += more
    name = (torch.cuda.get_device_name() if device == "cuda" else "cpu").replace(" ", "-")
    write_result(
        "gpu",
        name,
        file=out,
        settings={"batch": batch, "size": SIZE, "modes": chosen, "compiler": compiler, "seconds": seconds},
        machine=software(where),
        took_seconds=round(time.monotonic() - started),
        left_out=clock.left_out,
        checks=[asdict(check) for check in found],
        matmul_tflop_per_second=round(product / 1e12, 3),
        speed=speeds,
    )
    print(f"left out: {', '.join(clock.left_out) or 'nothing'}")
    if failed := [check.name for check in found if check.passed is False]:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
