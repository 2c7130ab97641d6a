"""Trainings by family, from curves that are made by hand."""

from dataclasses import replace

import pytest
from recorded import sweep, trial

from gensweep.errors import ConfigError, NothingToCompareError
from gensweep.extras.plan.family_trainings import trainings_by_family, trial_of
from gensweep.verdict.comparison import compare
from gensweep.verdict.training_curves import CurvePoint, TrainedCurves, TrainingCurve

FLOPS_OF_IMAGE = {"unet": 2e6, "cnn": 5e6, "dcgan": 1e5}
IMAGES = (1000, 2000, 4000)


def made(number, family, network, *, width=32):
    config = {"network": {"kind": network} | ({} if width is None else {"width": width})}
    return trial("a", number, 50.0 - number, family=family, config=config)


def given(monkeypatch, trials, *, units=("flops", "images"), repeats=(), score=40.0):
    """A comparison of the trials, whose curves in some units are as if their evaluations had been read."""
    comparison = compare([sweep("a", trials)])
    trained = []
    for unit in units:
        curves, entries = [], {}
        for entry in comparison.entries:
            price = FLOPS_OF_IMAGE[entry.trial.config["network"]["kind"]] if unit == "flops" else 1.0
            points = tuple(CurvePoint(price * images, score - index) for index, images in enumerate(IMAGES))
            for run in (entry.trial.name, *(each for each in repeats if each.startswith(entry.trial.name))):
                curves.append(TrainingCurve("a", run, entry.trial.name, points))
                entries[run] = entry
        trained.append(TrainedCurves(unit, tuple(curves), entries, ()))
    monkeypatch.setattr("gensweep.extras.plan.family_trainings.trained_curves", lambda comparison: trained)
    return comparison


def test_each_family_and_each_network_of_one_gets_a_law(monkeypatch):
    trials = [made(0, "diffusion", "unet"), made(1, "diffusion", "cnn"), made(2, "gan", "dcgan", width=64)]
    found = trainings_by_family(given(monkeypatch, trials), "flops")
    assert set(found) == {"diffusion (unet)", "diffusion (cnn)", "GAN"}
    (only,) = found["GAN"]
    assert only.width == 64
    assert only.flops_per_image == pytest.approx(FLOPS_OF_IMAGE["dcgan"])
    assert only.unit_cost == pytest.approx(FLOPS_OF_IMAGE["dcgan"])
    assert only.curve.trial == "a/t0002"


def test_the_cost_of_an_image_is_in_the_unit_of_the_budget(monkeypatch):
    found = trainings_by_family(given(monkeypatch, [made(0, "diffusion", "unet")]), "images")
    assert [each.unit_cost for each in found["diffusion"]] == [1.0]
    assert [each.flops_per_image for each in found["diffusion"]] == [pytest.approx(2e6)]


def test_repeats_have_names_of_their_own_and_the_settings_of_what_they_repeat(monkeypatch):
    trials = [made(0, "gan", "dcgan"), made(1, "gan", "dcgan")]
    comparison = given(monkeypatch, trials, repeats=["a/t0000-again", "a/t0000-once-more"])
    found = trainings_by_family(comparison, "flops")["GAN"]
    names = {each.curve.trial: trial_of(comparison, each).trial for each in found}
    assert names == {
        "a/t0000": "t0000",
        "a/t0000 (repeat 1)": "t0000",
        "a/t0000 (repeat 2)": "t0000",
        "a/t0001": "t0001",
    }


def test_trials_without_flops_or_width_are_no_use(monkeypatch):
    for trials, units in (
        ([made(0, "gan", "dcgan", width=None)], ("flops", "images")),
        ([made(0, "gan", "dcgan")], ()),
    ):
        with pytest.raises(NothingToCompareError, match="gensweep trials a"):
            trainings_by_family(given(monkeypatch, trials, units=units), "flops")


def test_scores_that_have_no_power_law_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="not above 0"):
        trainings_by_family(given(monkeypatch, [made(0, "gan", "dcgan")], score=1.0), "flops")
    comparison = given(monkeypatch, [made(0, "gan", "dcgan")])
    upward = replace(comparison, score=replace(comparison.score, mode="max"))
    with pytest.raises(ConfigError, match="better the higher"):
        trainings_by_family(upward, "flops")
