"""Fine-tuning methods: which weights of a trained network change, and how.

Low-rank updates are parametrisations, so networks need no code for them.  A weight is a matrix of outputs times all
other dimensions: for a convolution, B A is a convolution with the same kernel size to r channels, then one of 1 x 1.
Source: Hu et al. 2021.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from typing import Annotated, TypeAlias, TypeVar, cast

import torch
from annotated_types import Ge, Gt, MinLen, doc
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gensweep.errors import ParameterError
from gensweep.registry import Registry

M = TypeVar("M", bound=nn.Module)
Layer: TypeAlias = nn.Linear | nn.Conv2d | nn.ConvTranspose2d

LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
#: Targets by name: (regular expression for layer names, module types).  Any other target is a regular expression.
TARGET_GROUPS: dict[str, tuple[str, tuple[type[nn.Module], ...]]] = {
    "all": ("", LAYERS),
    "attention": (r"(^|\.)attention\.", LAYERS),
    "conv": ("", (nn.Conv2d, nn.ConvTranspose2d)),
    "linear": ("", (nn.Linear,)),
}
#: The target without layers: only the embeddings of new labels are learnt.
LABELS_ONLY = "labels"


class LowRank(nn.Module):
    """W + scale B A, where A starts like a linear layer's weight, and B at 0, so that W does not change at first."""

    def __init__(self, layer: Layer, rank: int, scale: float) -> None:
        super().__init__()
        weight = _original(layer)
        self.scale, self.transposed = scale, isinstance(layer, nn.ConvTranspose2d)
        outputs, inputs = _sides(layer)
        self.A = nn.Parameter(weight.new_empty(rank, inputs))
        self.B = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """In full precision: autocast rounds the sum, as it would round the merged weight."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + _as_weight(self.scale * (self.B @ self.A), weight.shape, transposed=self.transposed)


def _as_weight(matrix: Float[Tensor, "outputs inputs"], shape: torch.Size, *, transposed: bool) -> Tensor:
    """The matrix in the shape of a layer's weight; that of a transposed convolution has its inputs first."""
    if not transposed:
        return matrix.view(shape)
    inputs, outputs, *kernel = shape
    return matrix.view(outputs, inputs, *kernel).transpose(0, 1)


def attach(network: nn.Module, *, rank: int, alpha: float | None = None, target: str = "all") -> None:
    """Give layers of a network updates of a rank, times alpha / rank (1 if alpha is None), which are trained.

    `target` is a name in TARGET_GROUPS, LABELS_ONLY, or a regular expression to search for in the names of layers.  A
    layer with fewer inputs or outputs than the rank gets an update of full rank.
    Raises ConfigError if no layer matches, or if none has the rank.
    """
    if target == LABELS_ONLY:
        return
    layers = layers_of(network, target)
    ranks = {name: min(_sides(layer)) for name, layer in layers.items()}
    name = max(ranks, key=ranks.__getitem__)
    if rank > ranks[name]:
        raise ParameterError(
            "rank",
            f"{rank} is more than any of the {len(layers)} layers of the target {target!r} has "
            f"(at most {ranks[name]}, in {name}); take {ranks[name]} or less",
        )
    for name, layer in layers.items():
        update = LowRank(layer, min(rank, ranks[name]), (rank if alpha is None else alpha) / rank)
        update.train(layer.training)
        chain = _chain(layer)
        if chain is None:
            parametrize.register_parametrization(layer, "weight", update)
        else:
            chain.insert(0, update)  # Before others: spectral norm then holds for the updated weight.


def layers_of(network: nn.Module, target: str) -> dict[str, Layer]:
    """The layers that a target matches, by name.  Raises ConfigError if there is none."""
    pattern, types = TARGET_GROUPS.get(target, (target, LAYERS))
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ParameterError("target", f"{target!r} is not a regular expression ({error})") from None
    known = {name: module for name, module in network.named_modules() if isinstance(module, LAYERS)}
    found = {name: layer for name, layer in known.items() if isinstance(layer, types) and compiled.search(name)}
    if not found:
        names = list(known)
        shown = ", ".join(names[:4]) + (f", ..., {names[-1]}" if len(names) > 4 else "")
        raise ParameterError(
            "target",
            f"{target!r} matches no layer of the {type(network).__name__} (its {len(names)} "
            f"layers: {shown}); take one of {', '.join(TARGET_GROUPS)}, {LABELS_ONLY}, or a regular expression for "
            "such names",
        )
    return cast(dict[str, Layer], found)


def freeze(network: nn.Module) -> None:
    """Take all parameters out of training, and hold the statistics of batch norms as they are."""
    network.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(_hold)


def parametrisations(network: nn.Module, kind: type[M]) -> dict[str, M]:
    """Parametrisations of one kind in a network, by layer name."""
    every = ((name, each) for name, module in network.named_modules() for each in _chain(module) or ())
    return {name: each for name, each in every if isinstance(each, kind)}


def low_rank_updates(network: nn.Module) -> dict[str, LowRank]:
    """The updates in a network, by the name of their layer."""
    return parametrisations(network, LowRank)


def merge(network: nn.Module) -> None:
    """Make plain weights of everything that fine-tuning has put beside them; other parametrisations stay.

    PyTorch's own way of removing would take them from copies of the network, too.
    """
    for module in network.modules():
        chain = _chain(module)
        if chain is not None and all(isinstance(each, LowRank | NewRows) for each in chain):
            trained = any(parameter.requires_grad for each in chain for parameter in each.parameters())
            weight = cast(Tensor, module.weight).detach()
            if weight.shape == chain.original.shape:
                # In the memory layout that it had: another one is computed, and so rounded, in another order.
                weight = torch.empty_like(chain.original, requires_grad=False).copy_(weight)
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            module.register_parameter("weight", nn.Parameter(weight, trained))


def merged(network: nn.Module) -> nn.Module:
    """A copy with plain weights, which is faster to draw with; the network itself if it has no updates."""
    if not low_rank_updates(network):
        return network
    network = copy.deepcopy(network)
    merge(network)
    return network


def add_update(layer: nn.Module, A: Float[Tensor, "r inputs"], B: Float[Tensor, "outputs r"], scale: float) -> None:
    """Add scale B A to the plain weight of a layer for good."""
    weight = cast(Tensor, layer.weight)
    with torch.no_grad():
        matrix = scale * (B.to(weight) @ A.to(weight))
        weight.add_(_as_weight(matrix, weight.shape, transposed=isinstance(layer, nn.ConvTranspose2d)))


def _chain(module: nn.Module) -> parametrize.ParametrizationList | None:
    """The parametrisations of `weight`, in their order, if there are any."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    return cast(parametrize.ParametrizationList, cast(nn.ModuleDict, module.parametrizations)["weight"])


def _original(layer: Layer) -> Tensor:
    chain = _chain(layer)
    return layer.weight if chain is None else chain.original


def _sides(layer: Layer) -> tuple[int, int]:
    """Outputs, and the numbers that each is computed from."""
    weight = _original(layer)
    outputs = weight.shape[1 if isinstance(layer, nn.ConvTranspose2d) else 0]
    return outputs, weight.numel() // outputs


def _hold(module: nn.Module, _: object) -> None:
    module.eval()


Update: TypeAlias = Callable[[nn.Module, Callable[[], None], int, int], None]

#: Items are functions (network, load, known, new) that prepare the network for training: load() gives it the base's
#: weights, `known` is the number of the base's labels, and `new` of labels to learn (both 0 without labels).
UPDATES: Registry[Update] = Registry("fine-tuning method", package="gensweep.nn")


@UPDATES.register("lora")
def lora(
    network: nn.Module,
    load: Callable[[], None],
    known: int,
    new: int,
    *,
    rank: Annotated[int, Ge(1), doc("rank of the updates, r")] = 4,
    alpha: Annotated[Annotated[float, Gt(0)] | None, doc("scale of the updates, times rank; null: rank")] = None,
    target: Annotated[
        str,
        MinLen(1),
        doc(
            "layers with updates: all, attention, conv, linear, labels (only the rows of new labels), or a regular "
            "expression for their names"
        ),
    ] = "all",
) -> None:
    """Freeze all weights; some layers get a low-rank update, W + (alpha / rank) B A, and new labels get trained rows.

    Source: Hu et al. 2021.
    """
    if target == LABELS_ONLY and not new:
        raise ParameterError(
            "target",
            f"{LABELS_ONLY!r} only learns new labels, but these images have none; "
            "choose another target, such as attention",
        )
    load()
    freeze(network)
    attach(network, rank=rank, alpha=alpha, target=target)
    add_labels(network, known, new)


@UPDATES.register("full")
def full(network: nn.Module, load: Callable[[], None], known: int, new: int) -> None:
    """Train all weights, starting from the base's."""
    load()
    add_labels(network, known, new)
    merge(network)


@UPDATES.register("scratch")
def scratch(network: nn.Module, load: Callable[[], None], known: int, new: int) -> None:
    """Train the same network from its initial weights, for comparison."""
    add_labels(network, known, new)
    merge(network)


class NewRows(nn.Module):
    """A label table with inserted, trainable rows for new labels.

    They start as the row at that position, "no label", or as the mean of all rows at the end of the table.
    """

    def __init__(self, table: Float[Tensor, "n features"], at: int, count: int) -> None:
        super().__init__()
        start = table[at : at + 1] if at < len(table) else table.mean(dim=0, keepdim=True)
        self.at = at
        self.rows = nn.Parameter(start.detach().repeat(count, 1))

    def forward(self, table: Float[Tensor, "n features"]) -> Float[Tensor, "m features"]:
        """The longer table."""
        return torch.cat([table[: self.at], self.rows, table[self.at :]])


def add_labels(network: nn.Module, known: int, count: int) -> None:
    """Make room for `count` labels after the `known` ones, in every label table of a network.

    "No label" stays the last row of tables that have it.
    """
    if not known or not count:
        return
    for module in list(network.modules()):
        if isinstance(module, nn.Embedding) and module.num_embeddings in (known, known + 1):
            training = module.training
            # Otherwise the spectral norm would continue its iteration.
            rows = NewRows(module.eval().weight.detach(), known, count)
            parametrize.register_parametrization(module.train(training), "weight", rows, unsafe=True)
            module.num_embeddings += count


def put_rows(network: nn.Module, known: int, rows: dict[str, Float[Tensor, "count features"]]) -> None:
    """The same for good, with given rows for each of the tables, by name."""
    for name, given in rows.items():
        table = cast(nn.Embedding, network.get_submodule(name))
        weight = table.weight.detach()
        longer = torch.cat([weight[:known], given.to(weight), weight[known:]])
        table.weight = nn.Parameter(longer, requires_grad=table.weight.requires_grad)
        table.num_embeddings = len(longer)


def new_rows(network: nn.Module) -> dict[str, Float[Tensor, "count features"]]:
    """The rows of new labels in a network, by the name of their table."""
    return {name: each.rows for name, each in parametrisations(network, NewRows).items()}
