"""What becomes of a trained network that goes on with other images: which of its weights change, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, MinLen
from torch import nn

from gensweep.errors import ParameterError
from gensweep.nn.lora import LABELS_ONLY, attach, freeze, merge
from gensweep.nn.new_labels import NewRows, add_labels
from gensweep.registry import Registry

__all__ = ["UPDATES", "Update"]

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
    rank: Annotated[int, Ge(1)] = 4,
    alpha: Annotated[float, Gt(0)] | None = None,
    target: Annotated[str, MinLen(1)] = "all",
) -> None:
    """The weights stay, and those of some layers get a low-rank update, W + (alpha / rank) B A; so do new labels' rows.

    The target is all, attention, conv or linear, or a regular expression for names of layers; with `labels` only the
    rows of new labels are learnt.  An alpha of null is equal to the rank.  Source: Hu et al. 2021.
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
