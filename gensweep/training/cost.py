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
from gensweep.families.family import Batch, Family, Likelihood
from gensweep.noise import Noise

__all__ = [
    "CallCounter",
    "counted_calls",
    "likelihood_calls",
    "memory_bytes",
    "parameters",
    "sample_flops",
    "training_flops",
]

#: Images of the batch whose FLOPs are counted: batch norms need more than one.
IMAGES_COUNTED = 2


def parameters(family: Family) -> dict[str, int]:
    """Numbers of trained parameters, by network."""
    return {
        name: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for name, network in family.networks.items()
    }


def training_flops(family: Family, loader: Loader) -> float:
    """Floating point operations of one training image, forward and backward, of all networks.

    Losses that do not come in every step count for their share of steps.  Counted once on a copy of the family, which
    stays as it is; a multiplication and an addition are two.
    """
    family = copy.deepcopy(family)
    drawn = loader.batch(0, IMAGES_COUNTED)
    batch = Batch(drawn.images, drawn.labels, Noise(0, drawn.positions), IMAGES_COUNTED)
    flops, before = 0.0, 0
    with FlopCounterMode(display=False) as counter:
        for loss in family.losses(family.networks, batch):
            torch.autograd.backward(loss.value)
            flops += (counter.get_total_flops() - before) / loss.every
            before = counter.get_total_flops()
    return flops / IMAGES_COUNTED


def sample_flops(family: Family) -> float:
    """Floating point operations of drawing one image, in all calls of the network."""
    probe = counted_calls(family)
    with FlopCounterMode(display=False) as counter:
        probe.run(1)
    return float(counter.get_total_flops()) * probe.calls


def likelihood_calls(family: Family, loader: Loader, timesteps: int | None) -> int:
    """Network calls that the likelihood of an image takes; 0 for a family that has none."""
    if not isinstance(family, Likelihood):
        return 0
    probe, drawn = CallCounter(family.networks[family.sampled]), loader.batch(0, 1)
    labels = drawn.labels if family.classes else None
    with torch.no_grad():
        family.bits_per_dim(probe, drawn.images, labels, Noise(0, drawn.positions), timesteps)
    return probe.calls


def memory_bytes(device: torch.device) -> int:
    """The most memory so far: that of tensors on a GPU, that of the whole process elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class CallCounter(nn.Module):
    """Stands in for a network that draws samples: it counts the images of all calls, and computes only one of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.calls = 0
        self._inputs: tuple[Any, ...] = ()
        self._output: Tensor | None = None

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        """The first output, again and again."""
        if self._output is None:
            self._inputs = tuple(each[:1] if isinstance(each, Tensor) else each for each in (x, *rest))
            self._output = self.run(1)
        self.calls += len(x)
        return self._output.expand(len(x), *self._output.shape[1:])

    def run(self, n: int) -> Tensor:
        """Run the network on its first input, repeated n times in one batch, in evaluation mode."""
        repeated = [each.repeat_interleave(n, 0) if isinstance(each, Tensor) else each for each in self._inputs]
        training = self.network.training
        with torch.no_grad():
            output: Tensor = self.network.eval()(*repeated)
        self.network.train(training)
        return output


def counted_calls(family: Family) -> CallCounter:
    """A counter that has drawn one image.

    Its `calls` are the network evaluations of an image, whatever the sampler: guidance takes two, with and without the
    label, at the levels where it is used.
    """
    probe = CallCounter(family.networks[family.sampled])
    one = torch.zeros(1, dtype=torch.int64, device=next(probe.parameters()).device)
    with torch.no_grad():
        family.sample(probe, Noise(0, one), one if family.classes else None)
    return probe
