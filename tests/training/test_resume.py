"""A training that stops and goes on equals one that never stopped, bit for bit."""

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.errors import GensweepError
from gensweep.families.family import FAMILIES
from gensweep.training.learner_state import restore, state_of
from gensweep.training.loop import train

pytestmark = pytest.mark.trains


def run(learner, until=None):
    """Train to the end, or until an evaluation at so many images; return the last losses."""
    losses = {}
    for event in filter(None, train(learner, Loader(tiny.images(), seed=3), range(32, 10**6, 32))):
        losses = event.losses
        if event.due and event.images == until:
            break
    return losses


def equal(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])] == []


def check_resume(kind, **settings):
    """Train with and without a stop; return the state at the stop and the learner at the end."""
    whole, first, second = (tiny.learner(kind, **settings) for _ in range(3))
    losses = run(whole)
    run(first, until=32)
    saved = {name: tensor.clone() for name, tensor in state_of(first).items()}
    torch.rand(17)  # the state of the global generator must not matter
    restore(second, saved)
    second.images = first.images
    assert run(second) == losses
    assert equal(state_of(second), state_of(whole))
    assert not equal(saved, state_of(whole))
    return saved, whole


@pytest.mark.parametrize("kind", FAMILIES.kinds())
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_training_equals_an_unbroken_one(kind, precision):
    check_resume(kind, precision=precision, family={"network": tiny.network(kind, dropout=0.5)})


#: Memories, lazy penalties and networks that no family of the smallest has.
ADA = {"kind": "ada", "target": -0.9, "images": 60, "interval": 3}
CASES = {
    "dit": {"network": {"kind": "dit", "width": 16, "depth": 2, "registers": 2}},
    "ada": {
        "network": {"kind": "sngan", "width": 8, "discriminator_width": 8},
        "gan": {"latent": 6, "augmentation": ADA, "discriminator_steps": 2, "penalty": {"kind": "r1", "every": 3}},
    },
    "r3gan": {
        "network": {"kind": "r3gan", "width": 8, "depth": 1},
        "gan": {
            "latent": 6,
            "loss": {"kind": "relativistic"},
            "penalty": {"kind": "r1_r2", "final_weight": 0.1},
            "burn_in": 50,
            "final_rate": 0.25,
            "final_beta2": 0.9,
        },
    },
}


@pytest.mark.parametrize("case", CASES)
def test_memories_and_schedules_resume(case):
    saved, whole = check_resume("gan" if "gan" in CASES[case] else "diffusion", family=CASES[case])
    if case == "ada":  # between two moves of the probability
        assert saved["memories/augmentation/count"] > 0
        assert whole.family.gan.augmentation.probability > 0


@pytest.mark.parametrize("kind", FAMILIES.kinds())
def test_resumed_fine_tuning_equals_an_unbroken_one(kind):
    settings = {"update": {"rank": 2}, "family": {"network": tiny.network(kind, dropout=0.5)}}
    start = {name: tensor.clone() for name, tensor in state_of(tiny.learner(kind, **settings)).items()}
    end = state_of(check_resume(kind, **settings)[1])
    learnt = [name for name, tensor in start.items() if not torch.equal(tensor, end[name])]
    networks = [name for name in learnt if not name.startswith("memories/")]
    assert networks
    assert all(name.endswith((".A", ".B", ".rows")) for name in networks), networks


def test_a_state_without_further_averages_resumes_without_them():
    old, learner = tiny.learner("gan", ema_factors=()), tiny.learner("gan", ema_factors=(4.0, 0.5))
    run(old)
    restore(learner, state_of(old))
    assert list(learner.averages) == ["ema"]
    assert equal(state_of(learner), state_of(old))


def test_the_state_of_another_model_is_refused_with_a_reason():
    learner, other = tiny.learner("gan"), tiny.learner("gan", family={"network": {"kind": "dcgan", "width": 4}})
    with pytest.raises(GensweepError, match=r"do not fit this model.*size mismatch"):
        restore(other, state_of(learner))
