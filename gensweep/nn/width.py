"""The maximal update parametrisation (muP): a learning rate that was tuned at one width holds at another.

A network is compared with the same network of a base width.  A parameter of another shape gets another initial size and
another learning rate.  If its layer has n times the inputs, and the base has the size s and the rate r:

- first layers, biases, norms and embeddings, with n = 1: s and r;
- hidden layers: s / sqrt(n) and r / n;
- last layers, with as many outputs as the base: s / n and r / n.

The rates are for Adam and its relatives.  A wider network has more attention heads, none larger than in the base, so
the scale of attention needs no change.
Source: Yang et al. 2022, "Tensor Programs V", table 3; Yang et al. 2023, "A spectral condition for feature learning"
(layers with a spectral norm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Interval, doc
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gensweep.errors import ParameterError
from gensweep.registry import keywords

#: The end of the name of a weight that a parametrisation changes.
ORIGINAL = ".parametrizations.weight.original"


def with_width(
    make: partial[Any],
    *shape: Any,
    parametrisation: Annotated[Literal["standard", "mup"], doc("mup: one learning rate for every width")] = "standard",
    base_width: Annotated[int, Interval(ge=1, le=8192), doc("the width at which mup changes nothing")] = 16,
) -> Any:
    """The network or networks that `make` builds for a shape, with a parametrisation.

    Raises ParameterError for mup if it has no width.
    """
    made = make(*shape)
    if parametrisation == "mup":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            base = make.func(*shape, **_base_settings(make, base_width))
        for network, small in zip(made, base, strict=True) if isinstance(made, tuple) else [(made, base)]:
            reparametrise(network, small)
    return made


def _base_settings(make: partial[Any], base_width: int) -> dict[str, Any]:
    """The settings of a network, with all widths smaller by the same factor."""
    settings = {name: each.default for name, each in keywords(make.func).items()} | make.keywords
    widths = {name: value for name, value in settings.items() if name.endswith("width") and value is not None}
    if "width" not in widths:
        raise ParameterError("parametrisation", "mup needs a network with a width; choose standard")
    return settings | {name: max(1, value * base_width // widths["width"]) for name, value in widths.items()}


@torch.no_grad()
def reparametrise(network: nn.Module, base: nn.Module) -> None:
    """Set the rate factor and initial size of each parameter, and the heads of attention; `base` has the base width."""
    bases, normed = dict(base.named_parameters()), dict[nn.Module, float]()
    for name, parameter in network.named_parameters():
        is_normed = name.endswith(ORIGINAL)
        layer = network.get_submodule(name.removesuffix(ORIGINAL) if is_normed else name.rpartition(".")[0])
        inputs, outputs = _growth(layer, parameter, bases[name])
        summed = _summed(network, name, outputs)
        parameter.rate_factor = 1 / (inputs * summed)  # type: ignore[attr-defined]
        if parameter.dim() > 1 and not parameter.is_meta and inputs * outputs != 1:
            size, wanted = (each.norm() / math.sqrt(each.numel()) for each in (parameter, bases[name]))
            wanted = wanted / (summed * (inputs if outputs == 1 else math.sqrt(inputs)))
            parameter.mul_(wanted / size if size else 1.0)
        if is_normed:
            normed[layer] = math.sqrt(outputs / inputs) / summed
    for own, small in zip(network.modules(), base.modules(), strict=True):
        if isinstance(getattr(own, "qkv", None), nn.Linear):
            _add_heads(own, small)
    for layer, factor in normed.items():
        if factor != 1:
            parametrize.register_parametrization(layer, "weight", _Scaled(factor))


def _add_heads(attention: Any, base: Any) -> None:
    channels, most = attention.qkv.in_features, base.qkv.in_features // base.heads
    several = range(attention.heads, channels + 1)
    attention.heads = next(heads for heads in several if channels % heads == 0 and channels // heads <= most)


def _growth(layer: nn.Module, parameter: Tensor, base: Tensor) -> tuple[float, float]:
    """How many times the inputs and outputs of the base a parameter has; biases, norms and tables have no inputs."""
    ratios = [own / small for own, small in zip(parameter.shape, base.shape, strict=True)]
    if parameter.dim() < 2 or isinstance(layer, nn.Embedding):
        return 1.0, ratios[-1]
    if isinstance(layer, nn.ConvTranspose2d):
        return ratios[0], ratios[1]
    if not isinstance(layer, nn.Linear | nn.Conv2d) and 1 in ratios[:2]:
        return 1.0, math.prod(ratios)  # such as learnt positions: no layer's weight
    return ratios[1], ratios[0]


def _summed(network: nn.Module, name: str, growth: float) -> float:
    """By how much a sum over features grows that a network takes of a layer's outputs; 1 for other layers."""
    powers: Mapping[str, float] = getattr(network, "summed", {})
    return next((growth**power for layer, power in powers.items() if f"{name}.".startswith(f"{layer}.")), 1.0)


class _Scaled(nn.Module):
    """A weight with a spectral norm, times a factor.

    Its largest singular value is to grow with the root of outputs by inputs.  Source: Yang et al. 2023, condition 1.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        """The weight."""
        return self.factor * weight
