"""Images a second of two workers on two cores against one worker on one core, and against two separate trainings.

One worker has the whole batch, each of two workers and of two trainings at once half of it.

    .venv/bin/python benchmarks/data_parallel.py
    .venv/bin/python benchmarks/data_parallel.py --width 32 --width 64 --width 96 --batch 32

Each worker is a process with one thread that takes training steps of gensweep's own loop, of a U-Net (multipliers
1, 2, 2, two blocks) on digits enlarged to 32 px; two workers average their gradients by DistributedDataParallel over
gloo, as in a sweep with `resources.workers: 2`.  The better of some rounds counts; the first one warms up.
Take it on a quiet machine of two cores or more.

Prints a table and writes benchmarks/results/data_parallel-DATE-PROCESSOR-PRECISION-batchB.json.
"""

from __future__ import annotations

import socket
import time
from typing import Any

import click
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from dated_results import write_result

from gensweep.build.parts import build_learner, load_images
from gensweep.config import TrialConfig
from gensweep.data.loader import Loader
from gensweep.training.device import keep_freed_memory
from gensweep.training.distributed import Workers


def trial(width: int, batch: int, precision: str) -> TrialConfig:
    """A diffusion model of some width."""
    return TrialConfig.from_dict(
        {
            "data": {"kind": "digits", "size": 32},
            "family": {"kind": "diffusion"},
            "network": {"kind": "unet", "width": width, "multipliers": [1, 2, 2], "blocks": 2, "attention": [16]},
            "training": {"batch_size": batch, "precision": precision},
        }
    )


def train(rank: int, world: int, port: int, config: dict[str, Any], rounds: int, steps: int, out: Any) -> None:
    """A worker: rank 0 sends the seconds of the fastest round."""
    torch.set_num_threads(1)
    keep_freed_memory()
    if world > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    built = TrialConfig.from_dict(config)
    images = load_images(built)
    learner, loader = build_learner(built, images, "cpu", Workers(rank, world)), Loader(images, seed=0)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(steps):
            learner.step(loader)
        seconds.append(time.perf_counter() - start)
    if rank == 0:
        out.put(min(seconds[1:]))
    if world > 1:
        dist.destroy_process_group()


def train_alone(index: int, *arguments: Any) -> None:
    """One of several separate trainings."""
    train(0, 1, *arguments)


def of_separate(config: dict[str, Any], trainings: int, rounds: int, steps: int) -> float:
    """Images a second of this many separate trainings at once."""
    out = mp.get_context("spawn").SimpleQueue()
    mp.spawn(train_alone, (0, config, rounds, steps, out), nprocs=trainings)
    return sum(float(config["training"]["batch_size"] * steps / out.get()) for _ in range(trainings))


def images_per_second(config: dict[str, Any], world: int, rounds: int, steps: int) -> float:
    """Images a second of the workers of one training."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    out = mp.get_context("spawn").SimpleQueue()
    mp.spawn(train, (world, port, config, rounds, steps, out), nprocs=world)
    return float(config["training"]["batch_size"] * steps / out.get())


@click.command(context_settings={"show_default": True})
@click.option("--width", "widths", type=click.IntRange(8), multiple=True, default=(32, 64, 96), help="Of the U-Net.")
@click.option("--batch", type=click.IntRange(2), default=32, metavar="IMAGES", help="Of all workers together.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", help="Of training.")
@click.option("--rounds", type=click.IntRange(1), default=4, help="Of which the fastest counts.")
@click.option("--steps", type=click.IntRange(1), default=4, help="In a round.")
def main(widths: tuple[int, ...], batch: int, precision: str, rounds: int, steps: int) -> None:
    """Compare two workers with one."""
    rows = []
    print(
        f"{'width':>6}{'one worker':>12}{'two workers':>13}{'ratio':>8}{'two apart':>15}{'ratio':>8}   images a second"
    )
    for width in widths:
        config = trial(width, batch, precision).as_dict()
        one, two = (images_per_second(config, world, rounds, steps) for world in (1, 2))
        apart = of_separate(trial(width, batch // 2, precision).as_dict(), 2, rounds, steps)
        print(f"{width:6}{one:12.1f}{two:13.1f}{two / one:8.2f}{apart:15.1f}{two / apart:8.2f}", flush=True)
        found = {"width": width, "one": one, "two": two, "separate": apart}
        rows.append({key: round(value, 2) for key, value in found.items()} | {"ratio": round(two / one, 3)})
    settings = {"batch": batch, "precision": precision, "rounds": rounds, "steps": steps}
    write_result("data_parallel", f"{precision}-batch{batch}", settings=settings, rows=rows)


if __name__ == "__main__":
    main()
