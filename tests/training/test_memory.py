"""Memory against counts by hand."""

from itertools import accumulate

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.training.cost import LiveBytes, activation_bytes, changes_of_memory
from gensweep.training.learner_state import state_of


def live(counter):
    """Bytes that live now, and the most at once."""
    return sum(counter.changes), max(accumulate(counter.changes))


def test_bytes_live_until_the_end_of_their_last_view():
    with LiveBytes() as counter:
        first = torch.zeros(1000)
        assert live(counter) == (4000, 4000)
        second = first + 1
        view = second.view(10, 100)
        second.add_(1)
        assert live(counter) == (8000, 8000)
        del second
        assert live(counter) == (8000, 8000)
        del view
        third = first.to(torch.bfloat16)
        assert live(counter) == (6000, 8000)
        del first, third
    assert live(counter)[0] == 0


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
def test_a_gan_takes_less_the_more_parts_a_batch_has():
    """Though the images of all parts are made before the discriminator takes its step."""
    family = {"network": {"kind": "sngan", "width": 32, "discriminator_width": 32}, "gan": {"latent": 6}}

    def peak(parts):
        learner = tiny.learner("gan", conditional=False, images=480, batch_size=48, family=family, accumulation=parts)
        loader = Loader(tiny.images(), seed=0)
        learner.step(loader)  # with which the optimizer gets its state
        with LiveBytes() as counter:
            learner.step(loader)
        return live(counter)[1]

    assert peak(4) < 0.4 * peak(1)
