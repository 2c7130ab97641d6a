"""What is said of a trial's costs before it is trained is what its training reports."""

import pytest
import torch
from untrained import FAMILIES, config, train

from gensweep.build.known_costs import KNOWN_COSTS, KnownCosts
from gensweep.build.training_length import TrainingLengths
from gensweep.config.objectives import Constraint

CPU = torch.device("cpu")


def limits(**most):
    return [Constraint(metric=name, max=value) for name, value in most.items()]


@pytest.mark.trains
@pytest.mark.parametrize("kind", FAMILIES)
def test_the_costs_that_are_known_beforehand_are_those_of_the_training(kind, tmp_path):
    trial = config(kind)
    everything = limits(**dict.fromkeys(KNOWN_COSTS, 1e30))
    known = KnownCosts(TrainingLengths(), 1, CPU).limited(trial, everything)
    assert list(known) == list(KNOWN_COSTS)
    del known["memory_bytes"]  # an estimate
    found, _ = train(trial, tmp_path).checkpoints[-1]
    assert known == {name: found.value(name) for name in known}


def test_a_network_is_counted_once_whatever_it_learns_by(monkeypatch):
    costs, trial = KnownCosts(TrainingLengths(), 1, CPU), config("diffusion")
    most = limits(flops=1e30, sample_flops=1e30)
    first = costs.limited(trial, most)
    for counting in ("known_costs", "training_length"):
        monkeypatch.setattr(f"gensweep.build.{counting}.build_family", None)
    assert costs.limited(trial.with_overrides({"optimizer.learning_rate": 0.5}), most) == first


def test_nothing_is_counted_beyond_the_first_limit_that_is_broken():
    known = KnownCosts(TrainingLengths(), 1, CPU).limited(
        config("gan"), limits(sample_flops=1e30, flops=1.0, params=1e9)
    )
    assert list(known) == ["params", "flops"]


def test_what_depends_on_the_speed_or_the_weights_is_not_known_beforehand():
    bounded = config("gan", training__device_seconds=9.0)
    costs = KnownCosts(TrainingLengths(), 1, CPU)
    assert costs.limited(bounded, limits(images=1.0, flops=1.0, sample_seconds=0.0)) == {}
    adaptive = config("diffusion", sampler__kind="dopri5")
    assert costs.limited(adaptive, limits(sample_flops=1.0)) == {}


def test_limits_are_held_against_the_whole_batches_that_a_training_comes_to():
    trial = config("gan").with_overrides({"training.images": 30, "training.batch_size": 16})
    assert KnownCosts(TrainingLengths(), 1, CPU).limited(trial, limits(images=31)) == {"images": 32}
