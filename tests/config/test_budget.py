"""What a sweep says its trainings may spend."""

import pytest

from gensweep.config import load_base

FLOPS = """\
name: demo
budget: {flops: 2.0e+12}
base:
  family: {kind: diffusion}
"""


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ("{}", "takes exactly one of images, flops, device_seconds, but nothing is given; write it like"),
        ("{flops: 1.0e+12, images: 9}", "takes exactly one of images, flops, device_seconds, but images and flops"),
    ],
)
def test_a_budget_has_exactly_one_unit(refused, changed, problem):
    (found,) = refused(FLOPS.replace("{flops: 2.0e+12}", changed))
    assert found.startswith("s:2: budget")
    assert problem in found


def test_a_budget_excludes_another_length(refused):
    given = FLOPS + "  training: {images: 500}\n"
    assert refused(given) == ["s:5: training.images: is determined by the sweep's budget; remove it, or remove budget"]
    searched = FLOPS + "space: {training.images: {int: [500, 900]}}\n"
    assert [problem.partition(": is")[0] for problem in refused(searched)] == ["s:5: training.images"]
    (every,) = refused(FLOPS + "  evaluation: {every: 500}\n")
    assert "s:5: evaluation.every: counts images, but with a budget of flops trials differ" in every
    assert "evaluation.at" in every


def test_a_budget_in_images_is_that_of_every_trial(load, refused):
    text = FLOPS.replace("flops: 2.0e+12", "images: 6000")
    assert load(text + "  evaluation: {every: 2000}\n").trial().flat()["training.images"] == 6000
    (late,) = refused(text + "  evaluation: {every: 7000}\n")
    assert "7000 is more than training.images (6000)" in late


def test_shares_at_which_a_training_is_evaluated_ascend_between_0_and_1(load, refused):
    assert load(FLOPS + "  evaluation: {at: [0.1, 0.5]}\n").trial().flat()["evaluation.at"] == [0.1, 0.5]
    (twisted,) = refused(FLOPS + "  evaluation: {at: [0.5, 0.1]}\n")
    assert "evaluation.at: [0.5, 0.1] is not in ascending order; write [0.1, 0.5]" in twisted
    assert refused(FLOPS + "  evaluation: {at: [1.5]}\n")
    text = FLOPS.replace("flops: 2.0e+12", "images: 6000")
    (both,) = refused(text + "  evaluation: {at: [0.5], every: 2000}\n")
    assert "exclude each other" in both


def test_a_search_draws_as_many_trials_as_are_asked_for_or_its_budget_pays(load):
    assert load(FLOPS).search.most_trials == 20
    assert load(FLOPS + "search: {budget: {device_hours: 8}}\n").search.most_trials == 100_000
    both = load(FLOPS + "search: {budget: {device_hours: 0.5}, trials: 7}\n").search
    assert (both.most_trials, both.budget.unit, both.budget.amount) == (7, "device_seconds", 1800)


def test_the_base_of_a_sweep_alone_is_a_trial_of_its_budget(tmp_path):
    file = tmp_path / "s.yaml"
    text = FLOPS.replace("flops: 2.0e+12", "device_seconds: 90")
    file.write_text(text + "search: {trials: 3}\nspace: {seed: {int: [1, 2]}}\n")
    assert load_base(file).trial().flat()["training.device_seconds"] == 90
    assert load_base(file, overrides=["budget={images: 700}"]).trial().flat()["training.images"] == 700
