"""Listening to the units of a network, and turning them up or down, from outside: networks know nothing of it.

A unit is a channel that a layer reads: what norm, label and activation have made of it, as the next convolution sees
it.  Inputs are looked at, not outputs, as a fused norm and activation (`nn.norm_act`) is no module that has any.
Shapes: b images, c channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from jaxtyping import Float
from torch import Tensor, nn

from gensweep.errors import ConfigError

__all__ = ["chosen", "reading_layers", "recording", "scaling"]

#: Whether channels come first or last.
FIRST, LAST = (nn.Conv2d, nn.ConvTranspose2d), (nn.Linear,)


def reading_layers(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The convolutions and linear layers of networks, by "network.path.of.the.layer"."""
    return {
        f"{network}.{path}" if path else network: module
        for network, root in networks.items()
        for path, module in root.named_modules()
        if isinstance(module, FIRST + LAST)
    }


def chosen(layers: Mapping[str, nn.Module], pattern: str | None) -> dict[str, nn.Module]:
    """Those of the layers in whose name a regular expression is found; None means all.

    Raises ConfigError if it is no regular expression, or is found in no name.
    """
    try:
        wanted = re.compile(pattern or "")
    except re.error as error:
        raise ConfigError(f"--layer {pattern!r} is not a regular expression ({error}); for example: 'up'") from None
    found = {name: layer for name, layer in layers.items() if wanted.search(name)}
    if not found:
        names = [*layers]
        shown = ", ".join(names[:: max(1, len(names) // 6)][:6])
        raise ConfigError(f"--layer {pattern!r} is found in no layer's name; there are {len(names)}, such as {shown}")
    return found


@contextmanager
def recording(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Float[Tensor, "b c"]]]:
    """The units' means over pixels, by layer, as the last pass found them, while the context lasts.

    A layer that reads vectors (latents, times, labels) does not appear.  Gradients flow through what is recorded.
    """
    seen: dict[str, Tensor] = {}

    def listener(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def listen(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            maps = _channels_last(module, inputs[0])
            if maps is not None:
                # At once, as the next layer may work in place.
                seen[name] = maps.flatten(1, -2).float().mean(dim=1)

        return listen

    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(listener(name)).remove)
        yield seen


@contextmanager
def scaling(layers: Mapping[str, nn.Module], factors: Mapping[str, Float[Tensor, " c"]]) -> Iterator[None]:
    """Each unit times its factor, by layer, while the context lasts: 0 switches it off, 2 doubles it."""

    def turner(factor: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def turn(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x, *rest = inputs
            wide = factor.to(x)
            return (x * (wide.view(-1, 1, 1) if isinstance(module, FIRST) else wide), *rest)

        return turn

    with ExitStack() as stack:
        for name, factor in factors.items():
            stack.callback(layers[name].register_forward_pre_hook(turner(factor)).remove)
        yield


def _channels_last(module: nn.Module, x: Tensor) -> Tensor | None:
    """Maps as (b, ..., c), or None for what has no pixels."""
    if isinstance(module, FIRST):
        x = x.movedim(1, -1)
    return x if x.dim() >= 3 and x[0, ..., 0].numel() > 1 else None
