"""The training step of gensweep's DCGAN against the loop of the PyTorch tutorial, with as many parameters.

    .venv/bin/python benchmarks/dcgan_step.py
    .venv/bin/python benchmarks/dcgan_step.py --size 64 --width 64 --threads 2

The tutorial's step is written down here as the tutorial has it: two sequential networks, the discriminator ending in a
sigmoid, binary cross-entropy, two backward passes of the discriminator and one of the generator, Adam, and the numbers
that it takes out for its log.  At 32 px both networks have one stage less.  Its images lie ready in memory; gensweep's
step is all of it: images from its loader, random numbers by position, signals, and its three averages of the generator,
which the tutorial does not have.  The first line is gensweep's faster precision, which a sweep finds by itself; the
tutorial's loop is float32 in PyTorch's default memory format.  Contenders take turns, in a rotating order, and the
median over the rounds is reported.  FLOPs are counted by torch.utils.flop_counter in one step of each.
Take numbers on a quiet machine: threads that wait for each other make a busy one many times slower, at random.

Prints a table and writes benchmarks/results/dcgan_step-DATE-PROCESSOR-PXpx-widthW-batchB-threadsT.json.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click
import torch
from dated_results import machine, write_result
from measuring import Contender, parameters, print_table, rows, take_turns
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gensweep.config.models import bind, item_model
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.nn.precision import Precision
from gensweep.noise import Noise
from gensweep.training.loop import Learner
from gensweep.training.settings import TrainingSettings

CHANNELS = 3
LATENT = 100
#: Images of random pixels to draw batches from.
IMAGES = 2_000


class Tutorial:
    """Networks, loss, optimizers and step of the tutorial, for 64 px, or 32 px with one stage less.

    Source: https://docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html, written from its description.
    """

    def __init__(self, size: int, width: int, device: torch.device) -> None:
        stages = [width * 2**stage for stage in range(size.bit_length() - 3)]
        self.generator = nn.Sequential(*generator_layers(stages[::-1])).apply(initialise).to(device)
        self.discriminator = nn.Sequential(*discriminator_layers(stages)).apply(initialise).to(device)
        self.criterion = nn.BCELoss()
        self.of_generator = torch.optim.Adam(self.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.of_discriminator = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.log: list[tuple[float, ...]] = []

    def step(self, real: Tensor) -> None:
        """One step: the discriminator on real images, on fake ones, then the generator."""
        discriminator, generator, criterion = self.discriminator, self.generator, self.criterion
        discriminator.zero_grad()
        label = torch.full((len(real),), 1.0, device=real.device)
        output = discriminator(real).view(-1)
        loss_real = criterion(output, label)
        loss_real.backward()
        d_x = output.mean().item()

        noise = torch.randn(len(real), LATENT, 1, 1, device=real.device)
        fake = generator(noise)
        label.fill_(0.0)
        output = discriminator(fake.detach()).view(-1)
        loss_fake = criterion(output, label)
        loss_fake.backward()
        d_g_z1 = output.mean().item()
        loss_discriminator = loss_real + loss_fake
        self.of_discriminator.step()

        generator.zero_grad()
        label.fill_(1.0)
        output = discriminator(fake).view(-1)
        loss_generator = criterion(output, label)
        loss_generator.backward()
        d_g_z2 = output.mean().item()
        self.of_generator.step()
        self.log.append((loss_discriminator.item(), loss_generator.item(), d_x, d_g_z1, d_g_z2))


def generator_layers(widths: list[int]) -> Iterator[nn.Module]:
    """From the latent vector to 4 px, then up in steps of two."""
    yield nn.ConvTranspose2d(LATENT, widths[0], 4, 1, 0, bias=False)
    for before, after in itertools.pairwise([*widths, CHANNELS]):
        yield nn.BatchNorm2d(before)
        yield nn.ReLU(True)
        yield nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
    yield nn.Tanh()


def discriminator_layers(widths: list[int]) -> Iterator[nn.Module]:
    """Down in steps of two to 4 px, then to one number."""
    yield nn.Conv2d(CHANNELS, widths[0], 4, 2, 1, bias=False)
    yield nn.LeakyReLU(0.2, inplace=True)
    for before, after in itertools.pairwise(widths):
        yield nn.Conv2d(before, after, 4, 2, 1, bias=False)
        yield nn.BatchNorm2d(after)
        yield nn.LeakyReLU(0.2, inplace=True)
    yield nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False)
    yield nn.Sigmoid()


def initialise(module: nn.Module) -> None:
    """The tutorial's weights_init."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.constant_(module.bias, 0)


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    size: int
    width: int
    batch: int
    device: torch.device


def gensweep(setting: Setting, images: Images, name: str, precision: Precision) -> Contender:
    """The program's own loop with a DCGAN."""
    settings = {"kind": "gan", "network": {"kind": "dcgan", "width": setting.width}, "gan": {"latent": LATENT}}
    family = bind(item_model(FAMILIES, "gan").model_validate(settings))(CHANNELS, setting.size, 0)
    plan = TrainingSettings(images=10**9, batch_size=setting.batch, precision=precision)
    learner = Learner(family, plan, seed=0, device=setting.device)
    loader = Loader(images, seed=0, device=setting.device)
    count = sum(parameters(network) for network in family.networks.values())
    return Contender(name, count, lambda: learner.step(loader))


def tutorial(setting: Setting, images: Images) -> Contender:
    """The tutorial's loop; its batch lies ready."""
    loop = Tutorial(setting.size, setting.width, setting.device)
    batch = Loader(images, seed=0, device=setting.device).batch(0, setting.batch).images
    count = parameters(loop.generator) + parameters(loop.discriminator)
    return Contender("tutorial, float32", count, lambda: loop.step(batch))


@click.command(context_settings={"show_default": True})
@click.option("--size", type=click.Choice(["32", "64"]), default="32", metavar="PX", help="Height and width.")
@click.option("--width", type=click.IntRange(1), multiple=True, default=(16, 32, 64, 128), help="May be repeated.")
@click.option("--batch", type=click.IntRange(2), default=128, metavar="IMAGES", help="Images a step.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; by default PyTorch's choice.", show_default=False)
@click.option("--rounds", type=click.IntRange(1), default=9, help="Turns of every contender.")
@click.option("--steps", type=click.IntRange(1), default=1, help="Steps a turn, and to warm up.")
@click.option("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="Where to run.")
def main(
    size: str, width: tuple[int, ...], batch: int, threads: int | None, rounds: int, steps: int, device: str
) -> None:
    """Compare the training step of gensweep's DCGAN with the loop of the PyTorch tutorial."""
    if threads:
        torch.set_num_threads(threads)
    where = torch.device(device)
    px = int(size)
    pixels = Noise(0, torch.arange(IMAGES)).integers(256, CHANNELS, px, px, stream=0).to(torch.uint8)
    images = Images(pixels, torch.zeros(IMAGES, dtype=torch.int64), ("noise",), "noise/train", "0" * 64, True)
    for each in width:
        setting = Setting(px, each, batch, where)
        torch.manual_seed(0)
        contenders = [
            gensweep(setting, images, "gensweep, bfloat16", "bfloat16"),
            gensweep(setting, images, "gensweep, float32", "float32"),
            tutorial(setting, images),
        ]
        for contender in contenders:
            with FlopCounterMode(display=False) as counter:
                contender.step()
            contender.flops = counter.get_total_flops()
        take_turns(contenders, where, rounds, steps)
        contenders.sort(key=lambda each: (not each.name.startswith("gensweep"), statistics.median(each.seconds)))
        table = rows(contenders, batch)
        print(f"{size} px, width {each}, batch {batch}")
        print_table(table)
        settings = {"size": px, "width": each, "batch": batch, "rounds": rounds, "steps": steps}
        name = f"{size}px-width{each}-batch{batch}-threads{torch.get_num_threads()}"
        write_result("dcgan_step", name, settings=settings, machine=machine(where), rows=[asdict(row) for row in table])


if __name__ == "__main__":
    main()
