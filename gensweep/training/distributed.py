"""Which of the workers this process is, and what they do together."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Workers(NamedTuple):
    """The rank of this process among `world` workers."""

    rank: int = 0
    world: int = 1

    def share(self, count: int) -> range:
        """The rank's contiguous part of 0..count-1; the parts of all ranks, in order, are the whole."""
        return range(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def sum(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The sum over all ranks, in place; every rank must call it."""
        if self.world > 1:
            dist.all_reduce(x)
        return x

    def max(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The largest over all ranks, in place; every rank must call it."""
        if self.world > 1:
            dist.all_reduce(x, op=dist.ReduceOp.MAX)
        return x


#: The only worker.
ALONE = Workers()


def wrapped(network: nn.Module, workers: Workers) -> nn.Module:
    """The network with its gradients averaged over the ranks; itself if there is only one.

    Gradients stay where they were averaged, until they are set to None.  Buffers are not broadcast in training: batch
    norms see the batches of all ranks already (`nn.layers.BatchNorm2d`).
    """
    if workers.world == 1:
        return network
    device = next(network.parameters()).device
    # torch 2.13 gave `broadcast_buffers` this name.
    new = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
    no_broadcast: dict[str, Any] = {"forward_sync_buffers" if new else "broadcast_buffers": False}
    device_ids = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=device_ids, gradient_as_bucket_view=True, **no_broadcast)


def average_gradients(network: nn.Module, workers: Workers) -> None:
    """Replace every gradient by its mean over the ranks, for a network that is not wrapped; every rank must call it."""
    if workers.world == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    mean = workers.sum(torch.cat([gradient.flatten() for gradient in gradients])) / workers.world
    parts = torch.split(mean, [gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view(gradient.shape))
