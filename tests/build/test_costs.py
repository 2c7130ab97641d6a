"""Costs of a trial that are known before it trains, against a training and the family itself."""

import pytest
import torch
from untrained import FAMILIES, config, train

from gensweep.build.costs import KNOWN_COSTS, PROCESS_BYTES, TrialCosts, count_parameters, footprint, images_at_once
from gensweep.build.parts import build_family, build_learner, load_images
from gensweep.config.objectives import Constraint
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.training.cost import training_flops
from gensweep.training.distributed import Workers
from gensweep.training.learner_state import state_of

CPU = torch.device("cpu")


def limits(**most):
    return [Constraint(metric=name, max=value) for name, value in most.items()]


@pytest.mark.trains
@pytest.mark.parametrize("kind", FAMILIES)
def test_the_costs_that_are_known_beforehand_are_those_of_the_training(kind, tmp_path):
    trial = config(kind)
    everything = limits(**dict.fromkeys(KNOWN_COSTS, 1e30))
    known = TrialCosts().limited(trial, everything, 1, CPU)
    assert list(known) == list(KNOWN_COSTS)
    del known["memory_bytes"]  # an estimate
    found, _ = train(trial, tmp_path).checkpoints[-1]
    assert known == {name: found.value(name) for name in known}


def test_nothing_is_counted_beyond_the_first_limit_that_is_broken():
    known = TrialCosts().limited(config("gan"), limits(sample_flops=1e30, flops=1.0, params=1e9), 1, CPU)
    assert list(known) == ["params", "flops"]


def test_what_depends_on_the_speed_is_not_known_beforehand():
    bounded = config("gan", training__device_seconds=9.0)
    costs = TrialCosts()
    assert costs.limited(bounded, limits(images=1.0, flops=1.0, sample_seconds=0.0), 1, CPU) == {}


def test_limits_count_whole_batches():
    trial = config("gan").with_overrides({"training.images": 30, "training.batch_size": 16})
    assert TrialCosts().limited(trial, limits(images=31), 1, CPU) == {"images": 32}


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("conditional", [False, True])
def test_a_training_spends_its_budget_to_the_last_whole_batch(kind, conditional):
    trial = config(kind).with_overrides({"family.conditional": conditional, "training.batch_size": 8})
    images = load_images(trial)
    each = training_flops(build_family(trial, images.shape, images.classes), Loader(images, seed=0))
    length = TrialCosts().with_length(trial, 1000 * each).flat()["training.images"]
    assert length % 8 == 0
    assert length * each <= 1000 * each * (1 + 1e-9) < (length + 8) * each


def test_a_game_in_parts_sees_fewer_images_for_the_same_operations():
    """As its generator makes the images twice; other families compute nothing twice."""
    costs = TrialCosts()
    for kind, dearer in (("gan", True), ("diffusion", False)):
        whole, parts, more = (
            costs.flops_per_image(config(kind).with_overrides({"training.accumulation": n})) for n in (1, 2, 4)
        )
        assert (parts > whole) == dearer
        assert parts == more


@pytest.mark.parametrize(
    ("flops", "problem"), [(1000.0, r"do not pay for one batch of \d+ .* set at"), (1e300, "pay for more than 1e")]
)
def test_a_budget_of_less_than_a_batch_or_too_many_images_is_refused(flops, problem):
    with pytest.raises(ConfigError, match=rf"budget\.flops: \S+ {problem}"):
        TrialCosts().with_length(config("gan"), flops)


@pytest.mark.trains
@pytest.mark.parametrize("kind", FAMILIES)
def test_predicted_checkpoint_size_is_that_of_the_trained_state(kind):
    trial = config(kind)
    images = load_images(trial)
    taken = footprint(trial, images, CPU)
    learner, loader = build_learner(trial, images, "cpu", Workers()), Loader(images, seed=0)
    for _ in range(2 * learner.period):
        learner.step(loader)
    true = sum(tensor.nbytes for tensor in state_of(learner).values())
    assert taken.checkpoint == pytest.approx(true, rel=0.02)  # counters of steps are left out
    assert taken.parameters == count_parameters(trial, images)
    assert taken.constant > taken.checkpoint + PROCESS_BYTES


@pytest.mark.trains
def test_images_fit_in_what_the_weights_leave():
    trial = config("gan")
    taken = footprint(trial, load_images(trial), CPU)
    assert taken.images_in(taken.of(5)) == 5
    assert taken.images_in(taken.of(6) - 1) == 5
    assert taken.images_in(taken.constant - 1) < 0


@pytest.mark.parametrize(("batch", "parts", "workers", "at_once"), [(24, 1, 1, 24), (24, 2, 2, 6), (25, 2, 2, 7)])
def test_a_batch_is_divided_among_workers_and_parts(batch, parts, workers, at_once):
    trial = config("gan").with_overrides({"training.batch_size": batch, "training.accumulation": parts})
    assert images_at_once(trial, workers) == at_once
