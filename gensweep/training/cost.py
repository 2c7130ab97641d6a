"""What training and sampling cost: parameters, floating point operations, memory."""

from __future__ import annotations

import copy
import resource
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gensweep.data.loader import Loader
from gensweep.families.family import Batch, Family
from gensweep.noise import Noise

__all__ = ["memory_bytes", "parameters", "sample_flops", "training_flops"]

#: Enough images for the statistics of a batch norm.
FEW = 2


def parameters(family: Family) -> dict[str, int]:
    """Numbers of trained parameters, by network."""
    return {name: sum(p.numel() for p in network.parameters()) for name, network in family.networks.items()}


def training_flops(family: Family, loader: Loader) -> float:
    """Floating point operations of one training image, forward and backward, of all networks.

    Counted once on a copy of the family, which stays as it is; a multiplication and an addition are two.
    """
    family = copy.deepcopy(family)
    drawn = loader.batch(0, FEW)
    batch = Batch(drawn.images, drawn.labels, Noise(0, drawn.positions))
    with FlopCounterMode(display=False) as counter:
        for loss in family.losses(family.networks, batch):
            torch.autograd.backward(loss.value)
    return float(counter.get_total_flops()) / FEW


def sample_flops(family: Family) -> float:
    """Floating point operations of drawing one image, of all calls of the network.

    The network runs once; further calls are counted and given its first answer again.
    """
    network = _Counted(copy.deepcopy(family.networks[family.sampled]).eval())
    device = next(network.parameters()).device
    one = torch.zeros(1, dtype=torch.int64, device=device)
    with torch.no_grad():
        family.sample(network, Noise(0, one), one if family.classes else None)
    return network.flops


def memory_bytes(device: torch.device) -> int:
    """The most memory so far: that of tensors on a GPU, that of the whole process elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class _Counted(nn.Module):
    """A network that works only once, and counts what it would have done."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.flops = 0.0
        self._first: Tensor | None = None
        self._each = 0.0

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        if self._first is None:
            with FlopCounterMode(display=False) as counter:
                first: Tensor = self.network(x, *rest)
            self._each, self._first = counter.get_total_flops() / len(x), first[:1]
        self.flops += self._each * len(x)
        return self._first.expand(len(x), *self._first.shape[1:])
