"""Labels that a network learns later: rows put into its label tables, beside those that stay as they are."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gensweep.nn.lora import LowRank, merge, parametrisations_in

__all__ = ["NewRows", "add_labels", "merge_all", "new_rows", "put_rows"]


class NewRows(nn.Module):
    """A table with rows put in at a place: those of new labels, which are trained.

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
    return {name: parametrisation.rows for name, parametrisation in parametrisations_in(network, NewRows).items()}


def merge_all(network: nn.Module) -> None:
    """Make plain weights of everything that fine-tuning has put beside them."""
    merge(network, (LowRank, NewRows))
