"""The memory that a training step takes for each image of its batch."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gensweep.data.loader import Loader
from gensweep.families.family import Batch, Family
from gensweep.noise import Noise

__all__ = ["LiveBytes", "activation_bytes"]

#: Images of the two batches whose memory is compared: batch norms need two, and what no batch needs cancels out.
SMALL_BATCH = 2
LARGE_BATCH = 4


def activation_bytes(family: Family, loader: Loader, autocast: Callable[[], AbstractContextManager[Any]]) -> int:
    """Bytes of one training image at the fullest moment of a step, in the precision that `autocast` sets.

    That is what the backward pass needs, gradients and intermediate results; weights, their gradients and the optimizer
    come on top, once a worker.  Counted on copies of the family, which stays as it is.
    """
    small, large = (_peak(copy.deepcopy(family), loader, autocast, n) for n in (SMALL_BATCH, LARGE_BATCH))
    return max(0, large - small) // (LARGE_BATCH - SMALL_BATCH)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that operations make, for as long as they live; `peak` is the most at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.peak = 0, 0
        self._known = weakref.WeakSet[Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = [each.untyped_storage() for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        for storage in (each.untyped_storage() for each in tree_leaves(out) if isinstance(each, Tensor)):
            # A view, or a result written in place, is no new memory.
            if storage not in self._known and all(storage._cdata != each._cdata for each in known):
                self._known.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return out

    def _add(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)


def _peak(family: Family, loader: Loader, autocast: Callable[[], AbstractContextManager[Any]], n: int) -> int:
    drawn = loader.batch(0, n)
    batch = Batch(drawn.images, drawn.labels, Noise(0, drawn.positions), n)
    with LiveBytes() as live:
        losses = family.losses(family.networks, batch)
        while True:
            with autocast():
                loss = next(losses, None)
            if loss is None:
                return int(live.peak)
            torch.autograd.backward(loss.value)
