"""Cost of training and sampling per image: parameters, FLOPs and memory, measured on copies of the networks."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_backward_flop_count, sdpa_flop_count

from gensweep.data.loader import Loader
from gensweep.families.family import Batch, Family, Likelihood, Loss, MixedCost, evaluating
from gensweep.machine import one_thread
from gensweep.noise import Noise
from gensweep.training.evaluation import Evaluator

#: Batch sizes whose memory is compared: batch norms need two images; memory independent of the batch cancels out.
#: FLOPs are counted with the larger batch.
SMALL_BATCH = 2
LARGE_BATCH = 4


def _convolution_backward_flops(grad: Any, x: Any, weight: Any, *rest: Any, **__: Any) -> int:
    """Each of the two gradients, for the input and the weights, costs as much as the convolution."""
    _bias, _stride, _padding, _dilation, transposed, _output_padding, _groups, (by_input, by_weights, _by_bias) = rest
    return int(by_input + by_weights) * conv_flop_count(x, weight, grad, transposed)


_FLASH_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_ON_CPU_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
#: Corrections of PyTorch's counter: it ignores attention on a CPU, and counts weight gradients of grouped convolutions
#: once per group.
FLOP_FORMULAS = {
    _FLASH_ON_CPU: lambda *shapes, **_: sdpa_flop_count(*shapes[:3]),  # type: ignore[no-untyped-call]
    _FLASH_ON_CPU_BACKWARD: lambda *shapes, **_: sdpa_backward_flop_count(*shapes[:4]),  # type: ignore[no-untyped-call]
    torch.ops.aten.convolution_backward: _convolution_backward_flops,
}


def flop_counter() -> FlopCounterMode:
    """Counts floating point operations in its context; a multiplication and an addition count as two."""
    return FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS)


def trained_parameters(family: Family) -> list[nn.Parameter]:
    """Number of parameters with gradients, over all networks."""
    return [each for network in family.networks.values() for each in network.parameters() if each.requires_grad]


@one_thread()
def training_flops(family: Family, loader: Loader, parts: int = 1) -> float:
    """Floating point operations of one training image, forward and backward, of all networks.

    Losses that are not computed in every step count with their share of the steps.  A multiplication and an addition
    count as two.  The batch passes the networks in `parts`; a family may compute some work once per part.
    """
    flops = 0.0
    for share, each in family.by_cost() if isinstance(family, MixedCost) else [(1.0, family)]:
        before = 0
        with flop_counter() as counter:
            for loss in _losses_of_copy(each, loader, LARGE_BATCH, parts):
                torch.autograd.backward(loss.value)
                flops += share * (counter.get_total_flops() - before) / loss.every
                before = counter.get_total_flops()
    return flops / LARGE_BATCH


@one_thread()
def activation_bytes(family: Family, loader: Loader, autocast: Callable[[], AbstractContextManager[Any]]) -> int:
    """Peak memory in bytes that each further training image adds to a step, in the precision of `autocast`.

    This covers gradients and intermediate results of the backward pass.  Weights, their gradients and the optimizer
    come on top, once per worker.
    """
    small, large = (changes_of_memory(family, loader, autocast, n) for n in (SMALL_BATCH, LARGE_BATCH))
    if len(small) == len(large):
        # Compare step by step: memory independent of the batch may peak elsewhere than that of a few images.
        grown = max(accumulate(after - before for before, after in zip(small, large, strict=True)), default=0)
    else:
        grown = max(accumulate(large), default=0) - max(accumulate(small), default=0)
    return max(0, grown) // (LARGE_BATCH - SMALL_BATCH)


def changes_of_memory(
    family: Family, loader: Loader, autocast: Callable[[], AbstractContextManager[Any]], n: int
) -> list[int]:
    """Changes of memory, in order, during a step on n images, in bytes."""
    losses, live = _losses_of_copy(family, loader, n), LiveBytes()
    with live:
        while True:
            with autocast():
                loss = next(losses, None)
            if loss is None:
                break
            torch.autograd.backward(loss.value)
    return live.changes


def _losses_of_copy(family: Family, loader: Loader, n: int, parts: int = 1) -> Iterator[Loss]:
    """Losses of the first n images, as one of several parts, by a copy of the family."""
    family, drawn = copy.deepcopy(family), loader.batch(0, n)
    batch = Batch(drawn.images, drawn.labels, Noise(0, drawn.positions), n, parts=parts)
    return family.losses(family.networks, batch)


def sample_flops(family: Family) -> float:
    """Floating point operations to generate one image, over all network calls."""
    return counted_calls(family).flops()


def scoring_flops(family: Family, evaluator: Evaluator, drawing: float) -> float:
    """Floating point operations of an evaluation: sampling, features, and likelihoods.

    `drawing` is the cost of one image over all steps of the sampler.
    """
    network, flops = family.networks[family.sampled], drawing * evaluator.samples
    device = next(network.parameters()).device
    if evaluator.extractor is not None:
        one = torch.zeros(1, *evaluator.images.shape, dtype=torch.uint8, device=device)
        with flop_counter() as counter:
            evaluator.extractor(one)
        flops += float(counter.get_total_flops()) * evaluator.samples
    if evaluator.held_out is not None and isinstance(family, Likelihood):
        probe, drawn = CallCounter(network), Loader(evaluator.held_out, seed=0, device=device).batch(0, 1)
        labels, points = drawn.labels if family.classes else None, evaluator.settings.likelihood().points
        with torch.no_grad():
            family.bits_per_dim(probe, drawn.images, labels, Noise(0, drawn.positions), points)
        flops += probe.flops() * len(evaluator.held_out)
    return flops


class CallCounter(nn.Module):
    """Replaces a sampling network: counts the images of all calls, and computes only the first call.

    Parts that are called separately, such as encoder and decoder, are counted the same way.

    A call with gradients for the images counts twice.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._parts: dict[str, CallCounter] = {}
        self._calls = 0
        self._inputs: tuple[Any, ...] = ()
        self._output: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        """Attribute of the network; parts count their calls too."""
        network = self.__dict__["_modules"]["network"]
        if name == "network":
            return network
        found = getattr(network, name)
        return self._parts.setdefault(name, CallCounter(found)) if isinstance(found, nn.Module) else found

    @property
    def calls(self) -> int:
        """Number of images in all calls of the network and its parts."""
        return self._calls + sum(part.calls for part in self._parts.values())

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """Return the first output every time."""
        if self._output is None:
            self._inputs = tuple(each[:1] if isinstance(each, Tensor) else each for each in (x, *rest))
            self._output = self._run()
        self._calls += len(x)
        output = self._output.expand(len(x), *self._output.shape[1:])
        if torch.is_grad_enabled() and x.requires_grad:
            self._calls += len(x)
            output = output + 0 * x.sum()
        return output

    def flops(self) -> float:
        """Floating point operations of all calls."""
        with one_thread(), flop_counter() as counter:
            if self._calls:
                self._run()
        return float(counter.get_total_flops()) * self._calls + sum(part.flops() for part in self._parts.values())

    def _run(self) -> Tensor:
        with evaluating(self.network):
            return cast(Tensor, self.network(*self._inputs))


@one_thread()
def counted_calls(family: Family) -> CallCounter:
    """A counter after sampling one image.

    Its `calls` are the network evaluations per image; guidance needs two, with and without the label, at each level
    where it applies.
    """
    probe = CallCounter(family.networks[family.sampled])
    one = torch.zeros(1, dtype=torch.int64, device=next(probe.parameters()).device)
    with torch.no_grad():
        family.sample(probe, Noise(0, one), one if family.classes else None)
    return probe


class LiveBytes(TorchDispatchMode):
    """Records the changes of tensor memory, in bytes and in order, as `changes`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.changes: list[int] = []
        self._known = weakref.WeakSet[Any]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = [each.untyped_storage() for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        for storage in (each.untyped_storage() for each in tree_leaves(out) if isinstance(each, Tensor)):
            # Views and in-place results use no new memory.
            if storage not in self._known and all(storage._cdata != each._cdata for each in known):
                self._known.add(storage)
                self.changes.append(storage.nbytes())
                weakref.finalize(storage, self._free, storage.nbytes())
        return out

    def _free(self, size: int) -> None:
        # Tensors freed together have no fixed order, so they count as one change.
        if self.changes and self.changes[-1] <= 0:
            self.changes[-1] -= size
        else:
            self.changes.append(-size)
