"""The training steps of flow matching, DiT, VAE, R3GAN and MeanFlow against those of packages that anybody can install.

    pip install -e '.[benchmarks]'
    .venv/bin/python benchmarks/peer_steps.py                      all of them: minutes
    .venv/bin/python benchmarks/peer_steps.py vae r3gan --clock cpu
    .venv/bin/python benchmarks/peer_steps.py dit --width 192 --batch 128 --threads 2

A peer is what its package has of a step, in a plain loop: images that lie ready, loss, backward, clipping where
gensweep clips, fused Adam, one moving average.  gensweep's step is all of it: images from its loader, random numbers by
position, and its three averages.  Peers train the networks of gensweep, but for diffusers' DiT, which is one itself: of
the same width, depth, heads and patch, with an embedding of the time in every block.

    flow          torchcfm: times, paths                              U-Net
    flow_ot       torchcfm: these, and pairs by POT's exact solver    U-Net
    dit           diffusers: DiTTransformer2DModel, DDPMScheduler     DiT
    vae           pythae: VAE, whose pixels are Gaussians of a deviation that is not learnt, and not of 256 levels
    r3gan         relativistic_loss: the loss of pairs, R1 and R2     R3GAN
    meanflow      rectified-flow-pytorch: MeanFlow, by forward-mode differentiation

lucidrains' MeanFlow draws whether a whole step takes intervals; here one in four does, as a quarter of gensweep's
images.  Each side runs in float32 and bfloat16, in both memory formats, and the fastest of these are compared, as a
sweep finds its own by itself; forward-mode differentiation knows float32 in PyTorch's default format only.
Contenders take turns, in a rotating order; the median over the rounds is reported.

Prints a table for each and writes benchmarks/results/peer_steps-DATE-PROCESSOR-FAMILY-threadsT.json.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import click
import torch
from dated_results import machine, write_result
from measuring import CLOCKS, Contender, parameters, print_table, rows, take_turns
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from gensweep.config.models import bind, item_model
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.families.meanflow import interval_times
from gensweep.noise import Noise
from gensweep.training.cost import flop_counter
from gensweep.training.device import keep_freed_memory
from gensweep.training.loop import Learner
from gensweep.training.settings import TrainingSettings

CHANNELS, SIZE, CLASSES = 3, 32, 10
#: Images of random pixels to draw batches from.
IMAGES = 2_000
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
#: Precision and memory format.
ARITHMETIC = tuple(itertools.product(("float32", "bfloat16"), FORMATS))


@dataclass
class Turn:
    """One network's part of a plain step."""

    network: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float | None = 1.0


#: The family of gensweep, as it is configured -> the turns of a peer's step; images and labels come later.
Turns = Callable[[Any], list[Turn]]


@dataclass(frozen=True)
class Peer:
    """A package, the trial of gensweep that does the same, and the steps after which the peer's work repeats."""

    package: str
    turns: Turns
    settings: Callable[[int], dict[str, Any]]
    width: int
    arithmetic: tuple[tuple[str, str], ...] = ARITHMETIC
    period: int = 1


def unet(kind: str, **sections: Any) -> Callable[[int], dict[str, Any]]:
    """A trial with a U-Net."""
    shape = {"kind": "unet", "multipliers": (1, 2, 2), "dropout": 0.0}
    return lambda width: {"kind": kind, "network": shape | {"width": width}, **sections}


def of_torchcfm(matcher: str) -> Turns:
    """Flow matching."""

    def turns(family: Any) -> list[Turn]:
        from torchcfm import conditional_flow_matching

        paths, network = getattr(conditional_flow_matching, matcher)(sigma=0.0), family.networks["denoiser"]

        def loss(images: Tensor, _: Tensor) -> Tensor:
            t, x_t, velocity = paths.sample_location_and_conditional_flow(torch.randn_like(images), images)
            return F.mse_loss(network(x_t, 1000 * t, None).float(), velocity)

        return [Turn(network, loss)]

    return turns


def dit(width: int) -> dict[str, Any]:
    """Half of the depth of DiT-S, with patches of 4 pixels."""
    network = {"kind": "dit", "width": width, "depth": 6, "patch": 4, "heads": width // 32}
    return {"kind": "diffusion", "conditional": True, "network": network}


def of_diffusers(family: Any) -> list[Turn]:
    """DiT, trained on the noise."""
    from diffusers import DDPMScheduler, DiTTransformer2DModel

    ours = family.networks["denoiser"]
    width = ours.first.out_channels
    network = DiTTransformer2DModel(
        num_attention_heads=width // 32,
        attention_head_dim=32,
        in_channels=CHANNELS,
        num_layers=len(ours.blocks),
        sample_size=SIZE,
        patch_size=ours.patch,
        num_embeds_ada_norm=CLASSES,
    )
    scheduler = DDPMScheduler(1000)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        noise, t = torch.randn_like(images), torch.randint(1000, (len(images),))
        noisy = scheduler.add_noise(images, noise, t)
        return F.mse_loss(network(noisy, t, labels, return_dict=False)[0].float(), noise)

    return [Turn(network, loss)]


def vae(width: int) -> dict[str, Any]:
    """The plan of DCGAN."""
    return {"kind": "vae", "network": {"kind": "conv", "width": width}, "vae": {"latent": 64}}


def of_pythae(family: Any) -> list[Turn]:
    """The encoder and the decoder of gensweep, with pythae's loss."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    ours = family.networks["autoencoder"]

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = ours.encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.layers(x, None).float().chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = ours.decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z, None).float())

    config = VAEConfig(input_dim=(CHANNELS, SIZE, SIZE), latent_dim=family.vae.latent)
    network = VAE(config, encoder=Encoder(), decoder=Decoder())
    return [Turn(network, lambda images, _: network({"data": images}).loss)]


def r3gan(width: int) -> dict[str, Any]:
    """The loss and the penalties of the paper."""
    gan = {"loss": {"kind": "relativistic"}, "penalty": {"kind": "r1_r2"}, "latent": 64, "beta1": 0.0}
    return {"kind": "gan", "network": {"kind": "r3gan", "width": width, "depth": 1}, "gan": gan}


def of_relativistic_loss(family: Any) -> list[Turn]:
    """The discriminator's turn and the generator's, as the package's page has them."""
    import relativistic_loss as losses

    generator, discriminator = family.networks["generator"], family.networks["discriminator"]
    draws = partial(generator, labels=None)

    def judges(images: Tensor) -> Tensor:
        # The package wants gradients that lie in one piece, and the hooks that count operations no leaf.
        return discriminator(images.flatten(1).view_as(images), None).float()  # type: ignore[no-any-return]

    def of_discriminator(images: Tensor, _: Tensor) -> Tensor:
        with torch.no_grad():
            fake = draws(torch.randn(len(images), family.gan.latent)).float()
        pairs = losses.gan_loss(judges, lambda _: fake, images, None, discriminator_turn=True)
        return pairs + losses.r1_penalty(judges, images) + losses.r2_penalty(judges, fake)  # type: ignore[no-any-return]

    def of_generator(images: Tensor, _: Tensor) -> Tensor:
        z = torch.randn(len(images), family.gan.latent)
        return losses.gan_loss(judges, draws, images, z, discriminator_turn=False)  # type: ignore[no-any-return]

    betas = (0.0, 0.999)
    return [Turn(discriminator, of_discriminator, betas, None), Turn(generator, of_generator, betas, None)]


def of_rectified_flow(family: Any) -> list[Turn]:
    """MeanFlow with intervals in one of four steps."""
    from rectified_flow_pytorch import MeanFlow

    network = family.networks["denoiser"]

    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, z: Tensor, t: Tensor, length: Tensor) -> Tensor:
            return network(z, interval_times(t - length, t), None).float()  # type: ignore[no-any-return]

    power = family.mean.power
    velocity, intervals = (
        MeanFlow(Told(), adaptive_loss_weight_p=power, use_logit_normal_sampler=False, prob_default_flow_obj=share)
        for share in (1.0, 0.0)
    )
    turn = itertools.cycle([intervals, velocity, velocity, velocity])

    def loss(images: Tensor, _: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # the only attention that is differentiated forwards
            return next(turn)(images)  # type: ignore[no-any-return]

    return [Turn(network, loss)]


PEERS = {
    "flow": Peer("torchcfm", of_torchcfm("ConditionalFlowMatcher"), unet("flow"), 16),
    "flow_ot": Peer(
        "torchcfm",
        of_torchcfm("ExactOptimalTransportConditionalFlowMatcher"),
        unet("flow", flow={"pairing": {"kind": "optimal_transport"}}),
        16,
    ),
    "dit": Peer("diffusers", of_diffusers, dit, 192),
    "vae": Peer("pythae", of_pythae, vae, 64),
    "r3gan": Peer("relativistic_loss", of_relativistic_loss, r3gan, 32),
    "meanflow": Peer(
        "rectified-flow-pytorch", of_rectified_flow, unet("meanflow"), 16, (("float32", "contiguous"),), period=4
    ),
}


class PlainLoop:
    """A step of a peer, complete."""

    def __init__(self, turns: list[Turn], precision: str, memory_format: str) -> None:
        self.turns, self.bfloat16, self.format = turns, precision == "bfloat16", FORMATS[memory_format]
        for turn in turns:
            turn.network.to(memory_format=self.format).train()  # type: ignore[call-overload]
        self.weights = [list(turn.network.parameters()) for turn in turns]
        self.adams = [
            torch.optim.Adam(mine, lr=2e-4, betas=turn.betas, fused=True)
            for mine, turn in zip(self.weights, turns, strict=True)
        ]
        self.average = [weight.detach().clone() for weight in self.weights[-1]]

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Each network in turn, the others frozen."""
        images = images.to(memory_format=self.format)
        for turn, mine, adam in zip(self.turns, self.weights, self.adams, strict=True):
            for other in self.turns:
                other.network.requires_grad_(other is turn)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                loss = turn.loss(images, labels)
            loss.backward()
            if turn.clip is not None:
                nn.utils.clip_grad_norm_(mine, turn.clip)
            adam.step()
            adam.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, self.weights[-1], 1e-3)


def contenders(name: str, width: int, batch: int, data: Images) -> list[Contender]:
    """Both sides, in each precision and memory format; each has taken its first steps."""
    peer, made = PEERS[name], []
    ready = Loader(data, seed=0).batch(0, batch)
    settings = peer.settings(width)

    def family() -> Any:
        torch.manual_seed(0)
        return bind(item_model(FAMILIES, settings["kind"]).model_validate(settings))(CHANNELS, SIZE, CLASSES)

    for precision, form in ARITHMETIC:
        plan: Mapping[str, Any] = {"batch_size": batch, "precision": precision, "memory_format": form}
        learner = Learner(family(), TrainingSettings(**plan), seed=0)
        count = sum(parameters(network) for network in learner.family.networks.values())
        step = partial(learner.step, Loader(data, seed=0))
        made.append(Contender(f"gensweep, {precision}, {form}", count, step))
        if (precision, form) in peer.arithmetic:
            loop = PlainLoop(peer.turns(family()), precision, form)
            count = sum(parameters(turn.network) for turn in loop.turns)
            step = partial(loop.step, ready.images, ready.labels)
            made.append(Contender(f"{peer.package}, {precision}, {form}", count, step))
    for contender in made:
        with flop_counter() as counter:
            for _ in range(peer.period):
                contender.step()
        contender.flops = counter.get_total_flops() // peer.period
    return made


@click.command(context_settings={"show_default": True})
@click.argument("names", nargs=-1, type=click.Choice(list(PEERS)))
@click.option(
    "--width", type=click.IntRange(8), help="Of the networks; by default as PEERS has it.", show_default=False
)
@click.option("--batch", type=click.IntRange(2), default=64, metavar="IMAGES", help="Images a step.")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
@click.option("--rounds", type=click.IntRange(1), default=5, help="Turns of every contender.")
@click.option("--clock", type=click.Choice(list(CLOCKS)), default="wall", help="cpu: of this process alone.")
def main(names: tuple[str, ...], width: int | None, batch: int, threads: int, rounds: int, clock: str) -> None:
    """Compare the training steps of gensweep's families with those of public packages."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    pixels = Noise(0, torch.arange(IMAGES)).integers(256, CHANNELS, SIZE, SIZE, stream=0).to(torch.uint8)
    labels = torch.arange(IMAGES) % CLASSES
    data = Images(pixels, labels, tuple("0123456789"), "noise", "0" * 64, flip=True)
    for name in names or PEERS:
        peer, mine = PEERS[name], width or PEERS[name].width
        entries = contenders(name, mine, batch, data)
        take_turns(entries, torch.device("cpu"), rounds, peer.period, CLOCKS[clock])
        entries.sort(key=lambda each: (not each.name.startswith("gensweep"), statistics.median(each.seconds)))
        table = rows(entries, batch)
        print(f"\n{name}, width {mine}")
        print_table(table)
        theirs = next(row for row in table if not row.name.startswith("gensweep"))
        print(f"{table[0].name} against {theirs.name}: {theirs.time_against_gensweep:.2f}")
        write_result(
            "peer_steps",
            f"{name}-threads{threads}",
            settings={"family": name, "width": mine, "batch": batch, "rounds": rounds, "clock": clock},
            machine=machine() | {peer.package: version(peer.package)},
            rows=[asdict(row) for row in table],
        )


if __name__ == "__main__":
    main()
