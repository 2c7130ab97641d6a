"""A training that stops and goes on equals one that never stopped, bit for bit."""

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.diffusion.levels import LOSSES_PER_TIMESTEP
from gensweep.errors import GensweepError
from gensweep.families.family import FAMILIES
from gensweep.training.learner_state import restore, state_of
from gensweep.training.loop import train

pytestmark = pytest.mark.trains

PRECISIONS = ["float32", "bfloat16"]


def run(learner, until=None):
    """Train to the end, or until an evaluation at so many images; return the last losses."""
    losses = {}
    for event in train(learner, Loader(tiny.images(), seed=3), range(32, 10**6, 32)):
        losses = event.losses
        if event.due and event.images == until:
            break
    return losses


def equal(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("kind", FAMILIES.kinds())
@pytest.mark.parametrize("precision", PRECISIONS)
def test_going_on_from_a_state_equals_never_having_stopped(kind, precision):
    settings = {"precision": precision, "family": {"network": tiny.network(kind, dropout=0.5)}}
    whole = tiny.learner(kind, **settings)
    losses = run(whole)

    first = tiny.learner(kind, **settings)
    run(first, until=32)
    saved = {name: tensor.clone() for name, tensor in state_of(first).items()}
    torch.rand(17)  # the state of the global generator must not matter
    second = tiny.learner(kind, **settings)
    restore(second, saved)
    second.images = first.images

    assert run(second) == losses
    assert equal(state_of(second), state_of(whole))
    assert not equal(state_of(first), state_of(whole))


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_a_fine_tuning_goes_on_as_if_it_had_not_stopped(kind):
    settings = {"update": {"rank": 2}, "family": {"network": tiny.network(kind, dropout=0.5)}}
    whole = tiny.learner(kind, **settings)
    start = {name: tensor.clone() for name, tensor in state_of(whole).items()}
    losses = run(whole)
    first = tiny.learner(kind, **settings)
    run(first, until=32)
    saved = {name: tensor.clone() for name, tensor in state_of(first).items()}
    second = tiny.learner(kind, **settings)
    restore(second, saved)
    second.images = first.images
    assert run(second) == losses
    end = state_of(whole)
    assert equal(state_of(second), end)
    learnt = [name for name, tensor in start.items() if not torch.equal(tensor, end[name])]
    networks = [name for name in learnt if not name.startswith("memories/")]
    assert networks
    assert all(name.endswith((".A", ".B", ".rows")) for name in networks), networks


def test_what_importance_sampling_remembers_goes_on_too():
    """Of two timesteps, so that by the time of the stop both have been seen often enough."""
    settings = {"diffusion": {"timesteps": 2, "levels": {"kind": "importance"}, "loss": {"kind": "vlb"}}}
    whole = tiny.learner("diffusion", family=settings)
    losses = run(whole)
    first = tiny.learner("diffusion", family=settings)
    run(first, until=32)
    saved = {name: tensor.clone() for name, tensor in state_of(first).items()}
    assert int(saved["memories/levels/counts"].min()) >= LOSSES_PER_TIMESTEP
    second = tiny.learner("diffusion", family=settings)
    restore(second, saved)
    second.images = first.images
    assert run(second) == losses
    assert equal(state_of(second), state_of(whole))


def test_what_adaptive_augmentation_remembers_goes_on_too():
    """Stopped between two moves of the probability, and away from the first step of the lazy penalty."""
    ada = {"kind": "ada", "target": -0.9, "images": 60, "interval": 3}
    gan = {"latent": 6, "augmentation": ada, "discriminator_steps": 2, "penalty": {"kind": "r1", "every": 3}}
    settings = {"network": {"kind": "sngan", "width": 8, "discriminator_width": 8}, "gan": gan}
    whole = tiny.learner("gan", family=settings)
    losses = run(whole)
    first = tiny.learner("gan", family=settings)
    run(first, until=32)
    saved = {name: tensor.clone() for name, tensor in state_of(first).items()}
    assert saved["memories/augmentation/count"] > 0
    second = tiny.learner("gan", family=settings)
    restore(second, saved)
    second.images = first.images
    assert run(second) == losses
    assert equal(state_of(second), state_of(whole))
    assert whole.family.gan.augmentation.probability > 0


R3GAN = {
    "network": {"kind": "r3gan", "width": 8, "depth": 1},
    "gan": {
        "latent": 6,
        "loss": {"kind": "relativistic"},
        "penalty": {"kind": "r1_r2", "final_weight": 0.1},
        "burn_in": 50,
        "final_rate": 0.25,
        "final_beta2": 0.9,
    },
}
TRANSFORMER = {"network": {"kind": "dit", "width": 16, "depth": 2, "registers": 2}}


@pytest.mark.parametrize(("kind", "settings"), [("gan", R3GAN), ("diffusion", TRANSFORMER)], ids=["r3gan", "dit"])
def test_a_burn_in_and_a_transformer_go_on_from_where_they_were(kind, settings):
    whole, first, second = (tiny.learner(kind, family=settings) for _ in range(3))
    losses = run(whole)
    run(first, until=32)
    restore(second, {name: tensor.clone() for name, tensor in state_of(first).items()})
    second.images = first.images
    assert run(second) == losses
    assert equal(state_of(second), state_of(whole))


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_a_state_holds_networks_averages_and_optimizers(kind):
    learner = tiny.learner(kind)
    run(learner)
    names = {name.split("/")[0] for name in state_of(learner)}
    remembers = any(memory.state_dict() for memory in learner.family.memories.values())
    assert names == {"networks", "ema", "ema@0.25", "ema@4", "optimizers"} | ({"memories"} if remembers else set())
    for name, network in learner.family.networks.items():
        moments = {f"optimizers/{name}/{key}/exp_avg_sq" for key, _ in network.named_parameters()}
        assert moments <= set(state_of(learner))


def test_going_on_from_a_state_without_further_averages_goes_on_without_them():
    old, learner = tiny.learner("gan", ema_factors=()), tiny.learner("gan", ema_factors=(4.0, 0.5))
    run(old)
    restore(learner, state_of(old))
    assert list(learner.averages) == ["ema"]
    assert equal(state_of(learner), state_of(old))


def test_the_state_of_another_model_is_refused_with_a_reason():
    learner, other = tiny.learner("gan"), tiny.learner("gan", family={"network": {"kind": "dcgan", "width": 4}})
    with pytest.raises(GensweepError, match=r"do not fit this model.*size mismatch"):
        restore(other, state_of(learner))
