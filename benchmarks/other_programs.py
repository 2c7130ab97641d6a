"""Train a generator by another program's own recipe, for `gensweep evaluate-images` to rank beside yours.

    .venv/bin/python benchmarks/other_programs.py diffusers -o theirs
    gensweep evaluate-images theirs --like width-design --name diffusers --call num_inference_steps=50
    .venv/bin/python benchmarks/other_programs.py lucidrains -o their-images
    gensweep evaluate-images their-images --like width-design --name lucidrains
    gensweep best --compare width-design diffusers lucidrains

All images of CIFAR-10, without labels, on one thread.  FLOPs are counted as gensweep counts its own, forward and
backward.  Both recipes are those of their documentation but for the width and the learning rate, which are for so
little compute.  Their packages come with `pip install -e '.[benchmarks,export]'`:

diffusers   `examples/unconditional_image_generation/train_unconditional.py`: UNet2DModel, 1000 timesteps of the linear
            schedule, the noise as target, AdamW, warmup and cosine, EMA with its own warmup; leaves a DDIM pipeline
lucidrains  the Trainer of denoising-diffusion-pytorch: its Unet and GaussianDiffusion (sigmoid schedule, v as target),
            Adam, EMA of every tenth step; leaves images, drawn by its DDIM in 50 steps
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.data.cifar10 import cifar10
from gensweep.files import cache_folder
from gensweep.training.cost import flop_counter
from gensweep.training.device import keep_freed_memory

SIZE, CHANNELS, MULTIPLIERS = 32, 3, (1, 2, 2)
TIMESTEPS, STEPS = 1000, 50
#: Images that are drawn at once.
DRAWN = 100


class Recipe(NamedTuple):
    """What another program trains: the loss is of images in [-1, 1]."""

    network: nn.Module
    loss: Callable[[Tensor], Tensor]
    optimizer: torch.optim.Optimizer
    after_step: Callable[[], Any]
    leave: Callable[[Path], None]


def diffusers_recipe(width: int, rate: float, steps: int) -> Recipe:
    """That of `train_unconditional.py`."""
    from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    channels = tuple(width * each for each in MULTIPLIERS)
    groups = math.gcd(32, *channels)
    network = UNet2DModel(
        sample_size=SIZE,
        layers_per_block=2,
        block_out_channels=channels,
        norm_num_groups=groups,
        attn_norm_num_groups=groups,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    )
    schedule = DDPMScheduler(num_train_timesteps=TIMESTEPS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.95, 0.999), weight_decay=1e-6)
    decay = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=500, num_training_steps=steps)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)

    def loss(x: Tensor) -> Tensor:
        noise, timesteps = torch.randn_like(x), torch.randint(0, TIMESTEPS, (len(x),))
        return F.mse_loss(network(schedule.add_noise(x, noise, timesteps), timesteps).sample, noise)

    def after_step() -> None:
        decay.step()
        average.step(network.parameters())

    def leave(folder: Path) -> None:
        average.copy_to(network.parameters())
        DDIMPipeline(network, DDIMScheduler.from_config(schedule.config)).save_pretrained(folder)

    return Recipe(network, loss, optimizer, after_step, leave)


def lucidrains_recipe(width: int, rate: float, images: int) -> Recipe:
    """That of the Trainer of denoising-diffusion-pytorch, which leaves so many images."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    network = Unet(dim=width, dim_mults=MULTIPLIERS, full_attn=(False, True, False))
    diffusion = GaussianDiffusion(network, image_size=SIZE, timesteps=TIMESTEPS, sampling_timesteps=STEPS)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    average = EMA(diffusion, beta=0.995, update_every=10)

    @torch.inference_mode()
    def leave(folder: Path) -> None:
        folder.mkdir(parents=True)
        sampler = average.ema_model.eval()
        for first in range(0, images, DRAWN):
            drawn = sampler.sample(batch_size=min(DRAWN, images - first))
            pixels = (255 * drawn.clamp(0, 1)).round().to(torch.uint8).permute(0, 2, 3, 1)
            for number, picture in enumerate(pixels, first):
                Image.fromarray(picture.numpy()).save(folder / f"{number:05}.png")

    return Recipe(network, lambda x: diffusion((x + 1) / 2), optimizer, average.update, leave)


def batches(size: int) -> Iterator[Tensor]:
    """Images of the training set in [-1, 1], half of them mirrored, each once an epoch."""
    pixels = cifar10("train", cache_folder()).pixels
    while True:
        for numbers in torch.randperm(len(pixels)).split(size)[: len(pixels) // size]:
            x = pixels[numbers].float() / 127.5 - 1
            mirrored = torch.rand(size, 1, 1, 1) < 0.5
            yield torch.where(mirrored, x.flip(-1), x)


def flops_of_image(recipe: Recipe, batch: int) -> float:
    """Of one image of a batch, forward and backward."""
    with flop_counter() as counter:
        recipe.loss(torch.zeros(batch, CHANNELS, SIZE, SIZE)).backward()
    recipe.optimizer.zero_grad()
    return counter.get_total_flops() / batch


@click.command(context_settings={"show_default": True})
@click.argument("program", type=click.Choice(["diffusers", "lucidrains"]))
@click.option("--flops", default=3.2e13, help="Compute of the training.")
@click.option("--width", default=16, help="Channels at full resolution.")
@click.option("--learning-rate", default=1e-3, help="1e-4 in both documentations, of wide networks.")
@click.option("--batch", default=16, help="As documented, of both.")
@click.option("--images", default=500, help="How many lucidrains' leaves.")
@click.option("--seed", default=0)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder.")
def main(
    program: str, flops: float, width: int, learning_rate: float, batch: int, images: int, seed: int, output: Path
) -> None:
    """Train by another program's recipe, and leave what `gensweep evaluate-images` takes."""
    if output.exists():
        raise click.ClickException(f"{output} is there; name a new folder")
    torch.set_num_threads(1)
    keep_freed_memory()

    def make(steps: int) -> Recipe:
        torch.manual_seed(seed)
        if program == "diffusers":
            return diffusers_recipe(width, learning_rate, steps)
        return lucidrains_recipe(width, learning_rate, images)

    each = flops_of_image(make(1), batch)
    steps = int(flops / each / batch)
    recipe, began = make(steps), time.perf_counter()
    weights = list(recipe.network.parameters())
    count = sum(weight.numel() for weight in weights)
    click.echo(f"{program}: {count:,} parameters, {each / 1e6:,.0f} MFLOP an image, {steps * batch:,} images")
    losses = list[float]()
    for step, x in zip(range(1, steps + 1), batches(batch), strict=False):
        loss = recipe.loss(x)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        recipe.optimizer.step()
        recipe.optimizer.zero_grad()
        recipe.after_step()
        losses.append(loss.item())
        if step % 1000 == 0 or step == steps:
            rate = step * batch / (time.perf_counter() - began)
            click.echo(f"{step * batch:,} images, {rate:.0f} a second, loss {sum(losses) / len(losses):.4f}")
            losses.clear()
    recipe.leave(output)
    click.echo(f"wrote {output}")


if __name__ == "__main__":
    main()
