"""Memory against counts by hand."""

import ctypes
import subprocess
import sys
from itertools import accumulate

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.training.cost import LiveBytes, activation_bytes, changes_of_memory
from gensweep.training.learner_state import state_of


def test_bytes_live_from_the_operation_that_makes_them_to_the_end_of_their_last_view():
    with LiveBytes() as live:
        first = torch.zeros(1000)
        assert live.now == 4000
        second = first + 1
        view = second.view(10, 100)
        second.add_(1)
        assert live.now == live.peak == 8000
        del second
        assert live.now == 8000
        del view
        third = first.to(torch.bfloat16)
        assert (live.now, live.peak) == (6000, 8000)
        del first, third
    assert live.now == 0


def test_what_autograd_keeps_is_counted():
    x = torch.zeros(1000, requires_grad=True)
    with LiveBytes() as live:
        y = x.exp().exp()
        assert live.now == 8000  # each result is kept for its gradient
        z = x + 1 + 1
        assert live.now == 12000
        del y, z


@pytest.mark.trains
@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_counting_leaves_the_family_as_it_was_and_gives_the_same_again(kind):
    learner, loader = tiny.learner(kind), Loader(tiny.images(), seed=0)
    before = {name: tensor.clone() for name, tensor in state_of(learner).items()}
    each = activation_bytes(learner.family, loader, learner.autocast)
    assert each > 4 * tiny.SIZE**2
    assert activation_bytes(learner.family, loader, learner.autocast) == each
    assert all(torch.equal(before[name], tensor) for name, tensor in state_of(learner).items())


@pytest.mark.trains
def test_memory_is_the_same_again_whatever_dies_together_with_what():
    """Weights that were cast to bfloat16 die in the order of their hashes."""
    network = tiny.SMALL["diffusion"]["network"] | {"width": 16, "checkpointing": True}
    learner = tiny.learner("diffusion", precision="bfloat16", family={"network": network})
    loader = Loader(tiny.images(), seed=0)
    assert len({activation_bytes(learner.family, loader, learner.autocast) for _ in range(5)}) == 1


@pytest.mark.trains
@pytest.mark.parametrize("kind", ["diffusion", "gan", "vae"])
def test_a_large_batch_takes_so_much_for_each_further_image(kind):
    """Though a small one is fullest where the gradients of the weights are made."""
    network = {"gan": {"kind": "dcgan", "width": 32}, "vae": {"kind": "conv", "width": 32}}.get(kind)
    learner = tiny.learner(kind, family={"network": network} if network else {})
    loader = Loader(tiny.images(), seed=0)
    peaks = [max(accumulate(changes_of_memory(learner.family, loader, learner.autocast, n))) for n in (48, 64)]
    grown = (peaks[1] - peaks[0]) / 16
    assert grown <= activation_bytes(learner.family, loader, learner.autocast) < 1.2 * grown


@pytest.mark.trains
def test_bfloat16_and_checkpointing_take_less():
    def bytes_of(precision, **network):
        network = tiny.SMALL["diffusion"]["network"] | {"width": 16} | network
        learner = tiny.learner("diffusion", precision=precision, family={"network": network})
        return activation_bytes(learner.family, Loader(tiny.images(), seed=0), learner.autocast)

    whole = bytes_of("float32")
    assert bytes_of("bfloat16") < 0.8 * whole
    assert bytes_of("float32", checkpointing=True) < 0.8 * whole


#: Prints how many pages a tensor of 10,000 takes from the system, once such a one has been freed.
PAGE_FAULTS = """
import resource
import torch
from gensweep.training.device import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10, 1_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

keep_freed_memory()
faults()
print(min(faults() for _ in range(3)))
"""


@pytest.mark.waits
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")
def test_freed_memory_is_taken_again_without_the_system():
    # In a process of its own: where other tests have put a library above the heap, that cannot grow.
    told = subprocess.run([sys.executable, "-c", PAGE_FAULTS], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 100


@pytest.mark.trains
def test_a_gan_takes_less_the_more_parts_a_batch_has():
    """Though the images of all parts are made before the discriminator takes its step."""
    family = {"network": {"kind": "sngan", "width": 32, "discriminator_width": 32}, "gan": {"latent": 6}}

    def peak(parts):
        learner = tiny.learner("gan", conditional=False, images=480, batch_size=48, family=family, accumulation=parts)
        loader = Loader(tiny.images(), seed=0)
        learner.step(loader)  # with which the optimizer gets its state
        with LiveBytes() as live:
            learner.step(loader)
        return live.peak

    assert peak(4) < 0.4 * peak(1)
