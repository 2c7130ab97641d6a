"""The training step of flow matching against torchcfm's, on the same network, with and without optimal transport.

    .venv/bin/python benchmarks/flow_step.py
    .venv/bin/python benchmarks/flow_step.py --width 64 --batch 256 --threads 1 --clock cpu

torchcfm (pip install torchcfm) gives times, paths and pairs (by POT's exact solver); what is around them is a plain
loop: images that lie ready, forward, mean squared error, backward, clipping, fused Adam, one moving average.
gensweep's step is all of it: images from its loader, random numbers by position, and its three averages.  All train the
U-Net of gensweep in float32, and contenders take turns, in a rotating order; the median over the rounds is reported.
The last lines are the time that pairing a batch takes alone.

Prints a table and writes benchmarks/results/flow_step-DATE-widthW-batchB-threadsT.json.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

import click
import torch
from measuring import CLOCKS, Contender, machine, parameters, print_table, rows, take_turns, write_result
from torch import Tensor, nn
from torch.nn import functional as F
from torchcfm.conditional_flow_matching import ConditionalFlowMatcher, ExactOptimalTransportConditionalFlowMatcher
from torchcfm.optimal_transport import OTPlanSampler

from gensweep.config.models import bind, item_model
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.diffusion.pairing import OptimalTransport
from gensweep.families.family import FAMILIES
from gensweep.noise import Noise
from gensweep.training.cost import training_flops
from gensweep.training.loop import Learner
from gensweep.training.settings import TrainingSettings

CHANNELS, SIZE = 3, 32
#: Images of random pixels to draw batches from.
IMAGES = 2_000
#: Pairings that are timed alone.
PAIRINGS_TIMED = 9


def learner(width: int, batch: int, pairing: str) -> Learner:
    """Gensweep's."""
    settings = {
        "kind": "flow",
        "network": {"kind": "unet", "width": width, "multipliers": (1, 2, 2), "dropout": 0.0},
        "flow": {"pairing": {"kind": pairing}},
    }
    torch.manual_seed(0)
    family = bind(item_model(FAMILIES, "flow").model_validate(settings))(CHANNELS, SIZE, 0)
    training = TrainingSettings(batch_size=batch, precision="float32", memory_format="contiguous")
    return Learner(family, training, seed=0)


def plain_step(network: nn.Module, matcher: ConditionalFlowMatcher, images: Tensor) -> Callable[[], None]:
    """The step of a plain loop around torchcfm."""
    weights = list(network.parameters())
    adam, average = torch.optim.Adam(weights, lr=2e-4, fused=True), [weight.detach().clone() for weight in weights]

    def step() -> None:
        t, x_t, velocity = matcher.sample_location_and_conditional_flow(torch.randn_like(images), images)
        F.mse_loss(network(x_t, 1000 * t, None), velocity).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
        adam.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 1e-3)

    return step


def median_ms(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Milliseconds of one call."""
    seconds = []
    for _ in range(PAIRINGS_TIMED):
        start = clock()
        work()
        seconds.append(clock() - start)
    return round(1e3 * statistics.median(seconds), 2)


@click.command(context_settings={"show_default": True})
@click.option("--width", type=click.IntRange(8), default=16, help="Of the U-Net.")
@click.option("--batch", type=click.IntRange(2), default=128, metavar="IMAGES", help="Images a step.")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--rounds", type=click.IntRange(1), default=5, help="Turns of every contender.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: of this process alone.")
def main(width: int, batch: int, threads: int, rounds: int, clock: str) -> None:
    """Compare the training step of gensweep's flow matching with torchcfm's."""
    torch.set_num_threads(threads)
    pixels = Noise(0, torch.arange(IMAGES)).integers(256, CHANNELS, SIZE, SIZE, stream=0).to(torch.uint8)
    data = Images(pixels, torch.zeros(IMAGES, dtype=torch.int64), ("all",), "noise", "0" * 64, flip=True)
    ready = pixels[:batch].float() / 127.5 - 1
    matchers = {
        "independent": ConditionalFlowMatcher(sigma=0.0),
        "optimal_transport": ExactOptimalTransportConditionalFlowMatcher(sigma=0.0),
    }
    contenders = []
    for pairing, matcher in matchers.items():
        ours, theirs = learner(width, batch, pairing), learner(width, batch, pairing).family.networks["denoiser"]
        loader, count = Loader(data, seed=0), parameters(theirs)
        flops = int(batch * training_flops(ours.family, loader))
        contenders.append(Contender(f"gensweep, {pairing}", count, partial(ours.step, loader), flops))
        contenders.append(Contender(f"torchcfm, {pairing}", count, plain_step(theirs, matcher, ready), flops))
    take_turns(contenders, torch.device("cpu"), rounds, 1, CLOCKS[clock])
    table = rows(contenders, batch)
    print_table(table)
    eps = torch.randn_like(ready)
    alone = {
        "gensweep": median_ms(lambda: OptimalTransport()(ready, eps, None), CLOCKS[clock]),
        "torchcfm": median_ms(lambda: OTPlanSampler(method="exact").sample_plan(eps, ready), CLOCKS[clock]),
    }
    for name, ms in alone.items():
        print(f"pairing {batch} images alone, {name}: {ms:.2f} ms")
    write_result(
        "flow_step",
        f"width{width}-batch{batch}-threads{threads}",
        {"width": width, "batch": batch, "rounds": rounds, "clock": clock},
        machine(torch.device("cpu")) | {"torchcfm": version("torchcfm")},
        table,
        pairing_ms=alone,
    )


if __name__ == "__main__":
    main()
