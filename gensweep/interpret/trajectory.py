"""What a denoiser sees on its way from noise to image, at every level, and where its attention lies.

Shapes: n images, h = w pixels, q = k = h w pixels of a map.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.editing import edit
from gensweep.diffusion.samplers.sampler import Denoise, Denoised
from gensweep.families.family import Denoising
from gensweep.nn.unet import Attention
from gensweep.noise import Noise

__all__ = ["Step", "attending", "evenly", "follow"]


class Step(NamedTuple):
    """A stop on the way: the noisy images x = x_0 + sigma eps there, and the x_0 that is seen in them."""

    sigma: float
    x: Float[Tensor, "n c h w"]
    x_0: Float[Tensor, "n c h w"]
    attention: Mapping[str, Float[Tensor, "n h w"]]


def follow(
    family: Denoising,
    network: nn.Module,
    noise: Noise,
    labels: Int[Tensor, " n"] | None,
    shape: tuple[int, int, int],
    *,
    attention: bool = False,
) -> tuple[list[Step], Float[Tensor, "n c h w"]]:
    """The stops of the family's own sampler, from the highest level down, and the images that come out.

    A sampler that looks twice at a level stops where it looked last.  No gradients are kept.  With `attention` stops
    have maps of it, which take memory: all pairs of pixels of each image.
    """
    seen: dict[float, Step] = {}

    def listening(denoise: Denoise) -> Denoise:
        def listen(x: Tensor, sigma: float) -> Denoised:
            empty: dict[str, Tensor] = {}
            watched: AbstractContextManager[dict[str, Tensor]] = attending(network) if attention else nullcontext(empty)
            with watched as maps:
                found = denoise(x, sigma)
            # With guidance the label's half of the batch comes last.
            ours = {name: each[-len(x) :] for name, each in maps.items()}
            seen[sigma] = Step(sigma, x.clone(), found.x_0.clone(), ours)
            return found

        return listen

    with torch.no_grad():
        denoise = listening(family.denoise(network, labels))
        nothing = torch.zeros(shape, device=noise.samples.device)
        images = edit(family.process, family.sampler, denoise, noise, nothing, strength=1.0)
    return sorted(seen.values(), key=lambda step: -step.sigma), images


def evenly(path: list[Step], count: int) -> list[Step]:
    """At most `count` stops of a way, its first and last among them."""
    places = torch.linspace(0, len(path) - 1, min(count, len(path))).round().long()
    return [path[place] for place in places.tolist()]


@contextmanager
def attending(network: nn.Module) -> Iterator[dict[str, Float[Tensor, "n h w"]]]:
    """How much each pixel is attended to by the others, by attention layer, as the last pass found it.

    The mean over heads and queries, in units of what an even attention would give: 1 is even.
    """
    seen: dict[str, Tensor] = {}

    def listener(name: str, heads: int) -> Any:
        def listen(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            b, pixels, channels = output.shape
            q, k, _ = output.detach().float().view(b, pixels, 3, heads, channels // (3 * heads)).unbind(2)
            logits = torch.einsum("bqhc,bkhc->bhqk", q, k) * q.shape[-1] ** -0.5
            received = logits.softmax(dim=-1).mean(dim=(1, 2)) * pixels
            side = int(pixels**0.5)
            seen[name] = received.view(b, side, side)

        return listen

    with ExitStack() as stack:
        for name, module in network.named_modules():
            if isinstance(module, Attention):
                stack.callback(module.qkv.register_forward_hook(listener(name, module.heads)).remove)
        yield seen
