"""What a denoiser predicts on the way from noise to image, at every level, and where its attention lies.

Shapes: n images, h = w pixels, q = k = h w pixels of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.samplers.sampler import Denoised, Level
from gensweep.diffusion.sdedit import edit
from gensweep.families.family import Denoising
from gensweep.nn.unet import Attention
from gensweep.noise import Noise

T = TypeVar("T")


class PathStep(NamedTuple):
    """One noise level of the path: the noisy images x = x_0 + sigma eps, and the x_0 predicted from them."""

    sigma: float
    x: Float[Tensor, "n c h w"]
    x_0: Float[Tensor, "n c h w"]
    attention: Mapping[str, Float[Tensor, "n h w"]]


@torch.no_grad()
def record_path(
    family: Denoising,
    noise: Noise,
    labels: Int[Tensor, " n"] | None,
    shape: tuple[int, int, int],
    *,
    attention: bool = False,
) -> tuple[list[PathStep], Float[Tensor, "n c h w"]]:
    """The steps of the family's own sampler, from the highest level down, and the images that come out.

    Of a level that the sampler visits twice, the last visit is kept.  With `attention`, steps have maps of it, which
    take memory: all pairs of pixels of each image.
    """
    steps: dict[float, PathStep] = {}
    network = family.networks[family.sampled]
    denoise = family.denoise(network, labels)
    layers = {name: module for name, module in network.named_modules() if attention and isinstance(module, Attention)}

    def recorded(x: Tensor, sigma: Level) -> Denoised:
        assert not isinstance(sigma, Tensor), "an adaptive sampler has no levels that are those of all images"
        with recording_attention(layers) as maps:
            denoised = denoise(x, sigma)
        # Guidance doubles the batch, and the half with labels comes last.
        labelled = {name: each[-len(x) :] for name, each in maps.items()}
        steps[sigma] = PathStep(sigma, x.clone(), denoised.x_0.clone(), labelled)
        return denoised

    grey = torch.zeros(shape, device=noise.samples.device)
    images = edit(family.process, family.sampler, recorded, noise, grey, strength=1.0)
    return sorted(steps.values(), key=lambda step: -step.sigma), images


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, the first and last among them."""
    indices = torch.linspace(0, len(items) - 1, min(count, len(items))).round().long()
    return [items[index] for index in indices.tolist()]


@contextmanager
def recording_attention(layers: Mapping[str, Attention]) -> Iterator[dict[str, Float[Tensor, "n h w"]]]:
    """The attention that each pixel receives from the others, by layer, of the last forward pass in this context.

    The mean over heads and queries, relative to uniform attention: 1 is uniform.
    """
    recorded: dict[str, Tensor] = {}

    def record(name: str, heads: int, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        b, pixels, channels = output.shape
        q, k, _ = output.detach().float().view(b, pixels, 3, heads, channels // (3 * heads)).unbind(2)
        logits = torch.einsum("bqhc,bkhc->bhqk", q, k) * q.shape[-1] ** -0.5
        received = logits.softmax(dim=-1).mean(dim=(1, 2)) * pixels
        side = int(pixels**0.5)
        recorded[name] = received.view(b, side, side)

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(layer.qkv.register_forward_hook(partial(record, name, layer.heads)))
        yield recorded
