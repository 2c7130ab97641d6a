"""What becomes of a trained network that goes on with other images: which of its weights change, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias, cast

import torch
from annotated_types import Ge, Gt, MinLen, doc
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gensweep.errors import ParameterError
from gensweep.nn.lora import LABELS_ONLY, LowRank, attach, freeze, merge, parametrisations
from gensweep.registry import Registry

Update: TypeAlias = Callable[[nn.Module, Callable[[], None], int, int], None]

#: Items take (network, load, known, new) and make the network ready for training: load() gives it the base's weights,
#: `known` is the number of the base's labels, and `new` of those that are to be learnt (both 0 without labels).
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
    """The weights stay, and those of some layers get a low-rank update, W + (alpha / rank) B A; so do new labels' rows.

    Source: Hu et al. 2021.
    """
    if target == LABELS_ONLY and not new:
        raise ParameterError(
            "target",
            f"{LABELS_ONLY!r} learns nothing but new labels, but there are none for these images; "
            "take another target, such as attention",
        )
    load()
    freeze(network)
    attach(network, rank=rank, alpha=alpha, target=target)
    add_labels(network, known, new)


@UPDATES.register("full")
def full(network: nn.Module, load: Callable[[], None], known: int, new: int) -> None:
    """All weights go on from the base's."""
    load()
    add_labels(network, known, new)
    merge(network, (NewRows,))


@UPDATES.register("scratch")
def scratch(network: nn.Module, load: Callable[[], None], known: int, new: int) -> None:
    """The same network from its first weights, to compare with."""
    add_labels(network, known, new)
    merge(network, (NewRows,))


class NewRows(nn.Module):
    """A table with rows put in at a position: those of new labels, which are trained.

    They begin as the row that stands there, "no label", or as the mean of all where that is the end of the table.
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
            # Spectral norm would go on with its iteration.
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


def merge_all(network: nn.Module) -> None:
    """Make plain weights of everything that fine-tuning has put beside them."""
    merge(network, (LowRank, NewRows))
