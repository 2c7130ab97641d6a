"""Budgets of floating point operations, as training images."""

import pytest
from untrained import FAMILIES, config

from gensweep.build.parts import build_family, load_images
from gensweep.build.training_length import TrainingLengths
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.training.cost import training_flops


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("conditional", [False, True])
def test_a_training_spends_its_budget_to_the_last_whole_batch(kind, conditional):
    trial = config(kind).with_overrides({"family.conditional": conditional, "training.batch_size": 8})
    images = load_images(trial)
    each = training_flops(build_family(trial, images.shape, images.classes), Loader(images, seed=0))
    length = TrainingLengths().with_length(trial, 1000 * each).flat()["training.images"]
    assert length % 8 == 0
    assert length * each <= 1000 * each * (1 + 1e-9) < (length + 8) * each


def test_what_changes_no_operation_changes_no_length_and_is_not_looked_at_again(monkeypatch):
    lengths, trial = TrainingLengths(), config("diffusion")
    first = lengths.flops_per_image(trial)
    monkeypatch.setattr("gensweep.build.training_length.build_family", None)
    other = {"seed": 9, "training.ema_half_life": 7, "evaluation.samples": 9, "training.batch_size": 32}
    other |= {"optimizer.learning_rate": 0.5, "training.precision": "bfloat16", "family.sampling_precision": "bfloat16"}
    assert lengths.flops_per_image(trial.with_overrides(other)) == first


def test_wider_networks_see_fewer_images_for_the_same_operations():
    lengths, trial = TrainingLengths(), config("gan")
    narrow, wide = (
        lengths.with_length(trial.with_overrides({"network.width": width}), 1e11).flat()["training.images"]
        for width in (8, 16)
    )
    assert 1.9 * wide < narrow


def test_a_game_in_parts_sees_fewer_images_for_the_same_operations():
    """As its generator makes the images twice; other families compute nothing twice."""
    lengths = TrainingLengths()
    for kind, dearer in (("gan", True), ("diffusion", False)):
        whole, parts, more = (
            lengths.flops_per_image(config(kind).with_overrides({"training.accumulation": n})) for n in (1, 2, 4)
        )
        assert (parts > whole) == dearer
        assert parts == more


def test_a_budget_below_one_batch_is_refused_with_what_it_takes():
    with pytest.raises(ConfigError, match=r"budget\.flops: 1000 do not pay for one batch of \d+ .* give at"):
        TrainingLengths().with_length(config("gan"), 1000.0)
