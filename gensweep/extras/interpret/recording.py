"""Record a network while it samples: its units by hooks, its predictions by a recording denoiser.

The network is not changed.  A unit is an input channel of a layer: after norm, label and activation, as the next
convolution sees it.  Inputs are recorded, not outputs, because a fused norm and activation is not a separate module.
Shapes: b or n images, c channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.sdedit import edit
from gensweep.families.family import Denoising
from gensweep.noise import Noise

T = TypeVar("T")

#: Layers with inputs (b, c, h, w); linear ones have (b, ..., c).
CHANNELS_FIRST = (nn.Conv2d, nn.ConvTranspose2d)


def reading_layers(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Convolutions and linear layers of networks, by "network.path.of.the.layer"."""
    return {
        f"{network}.{path}" if path else network: module
        for network, root in networks.items()
        for path, module in root.named_modules()
        if isinstance(module, (*CHANNELS_FIRST, nn.Linear))
    }


@contextmanager
def recording(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Float[Tensor, "b c"]]]:
    """Means of units over pixels, by layer, in the last forward pass in this context.

    Layers with vector inputs (latents, times, labels) are left out.
    """
    recorded: dict[str, Tensor] = {}

    def record(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        maps = inputs[0].movedim(1, -1) if isinstance(module, CHANNELS_FIRST) else inputs[0]
        if maps.dim() >= 3 and maps[0, ..., 0].numel() > 1:
            # Take the mean now, because the next layer may work in place.
            recorded[name] = maps.flatten(1, -2).float().mean(dim=1)

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.register_forward_pre_hook(partial(record, name)))
        yield recorded


class PathStep(NamedTuple):
    """One noise level of the path: the noisy images x = x_0 + sigma eps, and the x_0 predicted from them."""

    sigma: float
    x: Float[Tensor, "n c h w"]
    x_0: Float[Tensor, "n c h w"]


@torch.no_grad()
def record_path(
    family: Denoising, noise: Noise, labels: Int[Tensor, " n"] | None, shape: tuple[int, int, int]
) -> tuple[list[PathStep], Float[Tensor, "n c h w"]]:
    """Steps of the family's sampler, from the highest level down, and the resulting images.

    If the sampler visits a level twice, the last visit counts.
    """
    steps: dict[float, PathStep] = {}
    denoise = family.denoise(family.networks[family.sampled], labels)

    def recorded(x: Tensor, sigma: float, *until: float) -> Tensor:
        x_0 = denoise(x, sigma, *until)
        steps[sigma] = PathStep(sigma, x.clone(), x_0.clone())
        return x_0

    grey = torch.zeros(shape, device=noise.samples.device)
    images = edit(family.process, family.sampler, recorded, noise, grey, strength=1.0)
    return sorted(steps.values(), key=lambda step: -step.sigma), images


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, including the first and the last."""
    indices = torch.linspace(0, len(items) - 1, min(count, len(items))).round().long()
    return [items[index] for index in indices.tolist()]
