"""Drawing images with gensweep's samplers against diffusers' pipelines, at equal steps, batch and parameters.

    .venv/bin/python benchmarks/sampling.py
    .venv/bin/python benchmarks/sampling.py --width 32 --width 64 --width 96 --width 128 --sampler ancestral

Both networks are those of benchmarks/train_step.py, unconditional, without guidance, for 32 px and 1,000 timesteps on
the linear schedule.  gensweep draws as `gensweep sample` does, noise by position and bytes at the end included; the
peers are DDIMPipeline and DDPMPipeline as they come (output as NumPy arrays), in float32 and under autocast to
bfloat16 (with the network itself in bfloat16 they fail on a CPU), each in both memory formats.  The first line is
gensweep's fastest, which a sweep finds by itself; its bfloat16 spares the highest noise levels.  Contenders take
turns, in a rotating order, and the median over the rounds is reported.  FLOPs are counted by torch.utils.flop_counter;
memory is that of the tensors that a batch makes, at the fullest moment.
The process keeps freed memory, as that of `gensweep sample` does, which speeds up all of them.
Take numbers on a quiet machine; on a busy one, --threads 1 --clock cpu measures the time that is computed.

Prints a table and writes benchmarks/results/sampling-DATE-PROCESSOR-SAMPLER-widthW-batchB-THREADSthreads.json.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import click
import torch
from dated_results import machine, write_result
from measuring import CLOCKS, Contender, matmul_flops, parameters, peak_bytes, print_table, rows, take_turns
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from train_step import CHANNELS, diffusers_unet, matching_channels, print_shares, short

from gensweep.config.models import bind, item_model
from gensweep.families.family import FAMILIES
from gensweep.noise import Noise
from gensweep.training.device import keep_freed_memory, place
from gensweep.training.evaluation import draw

SIZE = 32
PEERS = {"ddim": "DDIM", "ancestral": "DDPM"}


def ours(width: int, sampler: str, steps: int, batch: int, device: torch.device) -> dict[str, Contender]:
    """Gensweep as it comes, and all in float32."""

    def contender(precision: str) -> Contender:
        settings = {
            "kind": "diffusion",
            "sampling_precision": precision,
            "network": {"kind": "unet", "width": width},
            "diffusion": {"timesteps": 1000, "schedule": {"kind": "linear"}},
            "sampler": {"kind": sampler, "steps": steps},
        }
        family = bind(item_model(FAMILIES, "diffusion").model_validate(settings))(CHANNELS, SIZE, 0)
        network = family.networks[family.sampled]
        for weight in network.parameters():  # some begin at 0, and a processor may be faster at that
            nn.init.normal_(weight, std=0.02) if weight.ndim > 1 else None
        place(network, device, "float32", "channels_last")
        noise = Noise(0, torch.arange(batch, device=device))
        flops = steps * flops_of_call(network, batch, lambda x, time: network(x, time, None))
        return Contender(
            f"gensweep, {precision}", parameters(network), lambda: draw(family, network, noise, None), flops
        )

    return {precision: contender(precision) for precision in ("bfloat16", "float32")}


def theirs(width: int, sampler: str, steps: int, batch: int, device: torch.device, target: int) -> list[Contender]:
    """The pipeline in every precision and memory format."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    kind = PEERS[sampler]
    scheduler = getattr(diffusers, f"{kind}Scheduler")(num_train_timesteps=1000)
    contenders = []
    for dtype in (torch.float32, torch.bfloat16):
        for label, memory_format in (("default", torch.contiguous_format), ("last", torch.channels_last)):
            network = diffusers_unet(SIZE, *matching_channels(SIZE, target, width)).to(device).eval()
            with torch.no_grad():
                flops = steps * flops_of_call(network, batch, lambda x, time, network=network: network(x, time))
            network.to(memory_format=memory_format)
            pipeline = getattr(diffusers, f"{kind}Pipeline")(unet=network, scheduler=scheduler)
            pipeline.set_progress_bar_config(disable=True)

            def call(pipeline: Any = pipeline, dtype: torch.dtype = dtype) -> None:
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    pipeline(batch_size=batch, num_inference_steps=steps, output_type="np")

            name = f"{kind}, {short(dtype)}, {label}"
            contenders.append(Contender(name, parameters(network), call, flops))
    return contenders


def flops_of_call(network: nn.Module, batch: int, call: Callable[..., Any]) -> int:
    """Floating point operations of one evaluation of a batch, counted on one image."""
    weight = next(network.parameters())
    x, time = torch.zeros(1, CHANNELS, SIZE, SIZE, device=weight.device), torch.zeros(1, device=weight.device)
    # Attention by plain matrix products, the only form that the counter knows on every device.
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call(x, time)
    return batch * int(counter.get_total_flops())


@click.command(context_settings={"show_default": True})
@click.option("--width", "widths", type=click.IntRange(8), multiple=True, default=(64,), help="Of gensweep's U-Net.")
@click.option("--sampler", type=click.Choice(list(PEERS)), default="ddim", help="ancestral is the peer's DDPM.")
@click.option("--steps", type=click.IntRange(1), default=25, help="Network evaluations an image.")
@click.option("--batch", type=click.IntRange(1), default=16, metavar="IMAGES", help="Images at a time.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; by default PyTorch's choice.", show_default=False)
@click.option("--rounds", type=click.IntRange(1), default=5, help="Turns of every contender.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: of this process alone.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="Where to run.")
def main(
    widths: tuple[int, ...],
    sampler: str,
    steps: int,
    batch: int,
    threads: int | None,
    rounds: int,
    clock: str,
    device: str,
) -> None:
    """Compare drawing a batch of images with diffusers' pipeline, at one width after the other."""
    if threads:
        torch.set_num_threads(threads)
    keep_freed_memory()
    where = torch.device(device)
    products = {short(each): matmul_flops(each, where, CLOCKS[clock]) for each in (torch.float32, torch.bfloat16)}
    for width in widths:
        torch.manual_seed(0)
        mine = list(ours(width, sampler, steps, batch, where).values())
        ready = [*mine, *theirs(width, sampler, steps, batch, where, mine[0].parameters)]
        take_turns(ready, where, rounds, 1, CLOCKS[clock])
        ready.sort(key=lambda each: (not each.name.startswith("gensweep"), statistics.median(each.seconds)))
        table, peaks = rows(ready, batch), {each.name: peak_bytes(each.step) for each in ready}
        print(f"\nwidth {width}, {sampler}, {steps} steps; a step of the table is a batch of images")
        print_table(table)
        print_shares(table, peaks, products)
        peer = min(table[2:], key=lambda row: row.ms_per_step)
        print(f"{table[0].name} against {peer.name}: {peer.time_against_gensweep:.2f}")
        settings = {"width": width, "batch": batch, "sampler": sampler, "steps": steps, "rounds": rounds}
        write_result(
            "sampling",
            f"{sampler}-width{width}-batch{batch}-{torch.get_num_threads()}threads",
            settings=settings | {"clock": clock},
            machine=machine(where) | {"diffusers": version("diffusers")},
            rows=[asdict(row) for row in table],
            matmul_gflop_per_second={name: round(product / 1e9, 1) for name, product in products.items()},
            peak_bytes=peaks,
        )


if __name__ == "__main__":
    main()
