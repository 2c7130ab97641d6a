"""The coordinate check of muP: how much the outputs of a network's layers change in ten steps, by width.

    .venv/bin/python benchmarks/coordinate_check.py unet dcgan

With the standard parametrisation the changes grow with the width, with `parametrisation: mup` they should not.  Writes
benchmarks/results/coordinate_check-DATE-PROCESSOR.json, with a picture beside it.
Source: Yang et al. 2022, "Tensor Programs V", appendix D.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import click
import torch
from dated_results import write_result
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from gensweep.build.parts import build_learner, load_images
from gensweep.config import TrialConfig
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.nn.networks import ADVERSARIES, DENOISERS
from gensweep.training.distributed import ALONE

WIDTHS, STEPS = (8, 16, 32, 64), 10
#: Images of a step, and their side in pixels.
BATCH, SIZE = 32, 16
#: Larger than a good one, so that ten steps change something.
RATE = 2e-3


class Change(NamedTuple):
    """The change of the outputs of a network's layers, as root mean square of the median layer."""

    parametrisation: str
    width: int
    change: float


def width_check(kind: str, widths: Sequence[int] = WIDTHS) -> list[Change]:
    """The changes for each width, with the standard parametrisation and with muP.  Raises ConfigError.

    Networks learn handwritten digits: denoisers as flows, generators and discriminators as GANs.
    """
    if kind not in (*DENOISERS, *ADVERSARIES):
        raise ConfigError(f"{kind!r} is not a network (known: {', '.join((*DENOISERS, *ADVERSARIES))})")
    return [Change(name, width, _change(kind, name, width)) for name in ("standard", "mup") for width in widths]


def growth(changes: Sequence[Change], parametrisation: str) -> float:
    """The power of the width by which changes grow."""
    first, *_, last = [each for each in changes if each.parametrisation == parametrisation]
    return math.log(last.change / first.change) / math.log(last.width / first.width)


def draw(kind: str, changes: Sequence[Change], axes: Axes) -> None:
    """Draw changes by width."""
    for name in ("standard", "mup"):
        points = [(each.width, each.change) for each in changes if each.parametrisation == name]
        axes.plot(
            *zip(*points, strict=True), marker="o", label=f"{kind}, {name}", linestyle="--" if name == "mup" else "-"
        )


def _change(kind: str, parametrisation: str, width: int) -> float:
    network = {"kind": kind, "parametrisation": parametrisation, "base_width": WIDTHS[0], "width": width}
    if kind in DENOISERS:
        family, settings = "flow", {"optimizer.learning_rate": RATE, "optimizer.warmup": 0}
    else:
        family, settings = "gan", {"gan.generator_learning_rate": RATE, "gan.discriminator_learning_rate": RATE}
        network |= {"discriminator_width": width}
    trial = TrialConfig.from_dict({"data": {"kind": "digits", "size": SIZE}, "family": {"kind": family}})
    trial = trial.with_overrides(settings | {"network": network, "training.batch_size": BATCH})
    images = load_images(trial)
    learner, loader = build_learner(trial, images, "cpu", ALONE), Loader(images, seed=0)
    inputs, random = loader.batch(0, BATCH).images, torch.Generator().manual_seed(0)
    noise, time = torch.randn(inputs.shape, generator=random), 1000 * torch.rand(BATCH, generator=random)
    latents = torch.randn(BATCH, trial.flat().get("gan.latent", 1), generator=random)
    shown = {"denoiser": (inputs + noise, time), "generator": (latents,), "discriminator": (inputs,)}
    networks = [(network, shown[name]) for name, network in learner.family.networks.items()]
    before = [output for network, probe in networks for output in _outputs(network, *probe)]
    for _ in range(STEPS):
        learner.step(loader)
    after = [output for network, probe in networks for output in _outputs(network, *probe)]
    changes = [float((new - old).square().mean().sqrt()) for old, new in zip(before, after, strict=True)]
    return float(f"{median(changes):.3g}")


def _outputs(network: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """The outputs of all convolutions and linear layers."""
    found, hooks = list[Tensor](), []

    def keep(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(output.detach().clone())

    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(layer.register_forward_hook(keep))
    with torch.no_grad():
        network(*inputs, None)
    for hook in hooks:
        hook.remove()
    return found


@click.command()
@click.argument("kinds", nargs=-1)
def main(kinds: Sequence[str]) -> None:
    """Check networks, by default all that denoise and all GANs."""
    figure, rows = Figure(figsize=(7, 5), layout="constrained"), []
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="width", ylabel=f"change of outputs in {STEPS} steps")
    for kind in kinds or (*DENOISERS, *ADVERSARIES):
        changes = width_check(kind)
        powers = {name: round(growth(changes, name), 2) for name in ("standard", "mup")}
        rows.append({"network": kind, "powers": powers, "changes": [each._asdict() for each in changes]})
        click.echo(
            f"{kind}: changes grow with width^{powers['standard']:.2f} (standard), width^{powers['mup']:.2f} (mup)"
        )
        draw(kind, changes, axes)
    axes.legend(frameon=False)
    file = write_result("coordinate_check", rows=rows)
    figure.savefig(file.with_suffix(".png"), dpi=120)


if __name__ == "__main__":
    main()
