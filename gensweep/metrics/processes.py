"""What a metric needs of pytorch-ignite: to be one metric on all processes of torch.distributed."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

with warnings.catch_warnings():
    # ignite imports torch.distributed.optim, which still uses torch.jit
    warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)
    import ignite.distributed as idist
    from ignite.metrics import Metric as IgniteMetric
    from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

__all__ = [
    "Metric",
    "before",
    "follow_process_group",
    "in_order",
    "reinit__is_reduced",
    "sync_all_reduce",
    "with_float64",
]


class Metric(IgniteMetric):
    """ignite's metric, whose state is a copy: what is saved does not change with later updates."""

    def state_dict(self) -> OrderedDict[str, Any]:
        """Everything that has been taken in."""
        state: OrderedDict[str, Any] = deepcopy(super().state_dict())
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        super().load_state_dict(deepcopy(state_dict))


def with_float64(device: torch.device | str) -> torch.device | str:
    """The device, or the CPU for one of Apple's GPUs, which have no float64."""
    return "cpu" if torch.device(device).type == "mps" else device


def follow_process_group() -> None:
    """Let ignite see the process group that somebody else, such as Ray Train, has made or ended."""
    if not dist.is_initialized():
        if idist.model_name() == "native-dist":
            idist.sync(temporary=True)
    elif "LOCAL_RANK" not in os.environ:
        # A reduction does not need it, but ignite would gather host names to guess it, and warn.
        idist.set_local_rank(0)


def before(count: int) -> int:
    """The sum of the counts of the processes of lower rank; all must call it."""
    counts = in_order(torch.tensor([[count]]))
    return int(counts[: idist.get_rank()].sum())


def in_order(rows: Shaped[Tensor, "n w"]) -> Shaped[Tensor, "m w"]:
    """The rows of all processes, which must all call it: first those of rank 0, and so on."""
    follow_process_group()
    world, rank = idist.get_world_size(), idist.get_rank()
    if world == 1:
        return rows
    counts = torch.zeros(world, dtype=torch.int64, device=rows.device)
    counts[rank] = len(rows)
    idist.all_reduce(counts)
    start = int(counts[:rank].sum())
    whole = rows.new_zeros(int(counts.sum()), rows.shape[1])
    whole[start : start + len(rows)] = rows
    idist.all_reduce(whole)
    return whole
