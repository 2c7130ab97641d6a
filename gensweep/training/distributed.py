"""Rank of this process, and collective operations."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Workers(NamedTuple):
    """Rank of this process among `world` workers."""

    rank: int = 0
    world: int = 1

    def share(self, count: int) -> range:
        """Contiguous part of 0..count-1 for this rank; in order of ranks the parts cover everything."""
        return range(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def sum(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Sum over all ranks, in place; every rank must call it."""
        if self.world > 1:
            dist.all_reduce(x)
        return x

    def max(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Maximum over all ranks, in place; every rank must call it."""
        if self.world > 1:
            dist.all_reduce(x, op=dist.ReduceOp.MAX)
        return x


#: A single worker.
ALONE = Workers()


def wrapped(network: nn.Module, workers: Workers) -> nn.Module:
    """Wrap the network to average gradients over ranks; returns it unchanged with one rank.

    Gradients stay in the averaged buffers until set to None.  Buffers are not broadcast in training, as batch norms
    already use the batches of all ranks (`nn.layers.BatchNorm2d`).
    """
    if workers.world == 1:
        return network
    device = next(network.parameters()).device
    # torch 2.13 renamed `broadcast_buffers`.
    new = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
    no_broadcast: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    device_ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=device_ids, gradient_as_bucket_view=True, **no_broadcast)


def average_gradients(network: nn.Module, workers: Workers) -> None:
    """Average every gradient over the ranks, for an unwrapped network; every rank must call it."""
    if workers.world == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    mean = workers.sum(torch.cat([gradient.flatten() for gradient in gradients])) / workers.world
    parts = torch.split(mean, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))
