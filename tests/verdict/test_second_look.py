"""A second look by the panel: votes by kind, with errors of images and of seeds."""

import math
from dataclasses import replace

import pytest
from made_up import IDENTITY
from recorded import changed, sweep

from gensweep.report.export import comparison_json
from gensweep.report.verdict import format_sentences
from gensweep.results import Outcome, SamplingConfig, Score
from gensweep.sweep.events import ScoredAgain
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import recommend
from gensweep.verdict.second_look import look_again

NAMES = {
    "fd:efficientnet_lite0": "min",
    "kid:efficientnet_lite0": "min",
    "fd:domain": "min",
    "coverage:efficientnet_lite0": "max",
    "density:efficientnet_lite0": "max",
}


def panel(error=0.0, **values):
    """Scores by measure: of `domain`, `coverage`, `kid`, `fd` and `density`."""
    found = {}
    for name, mode in NAMES.items():
        metric, extractor = name.split(":")
        key = "domain" if extractor == "domain" else metric
        if key in values:
            identity = replace(IDENTITY, metric=metric, extractor=extractor)
            found[name] = Score(values[key], mode, identity, error=error)
    return found


def test_a_difference_counts_in_errors_of_images_and_seeds():
    (found,) = look_again([panel(domain=10.0, error=1.0)], [panel(domain=20.0, error=2.0)]).differences
    assert found.errors == pytest.approx(10 / math.sqrt(1 + 4 + 1 + 4))
    assert (found.winner, found.other, found.votes) == (10.0, 20.0, True)


def test_more_is_better_for_some_measures():
    look = look_again([panel(coverage=0.9, domain=1.0)], [panel(coverage=0.4, domain=2.0)])
    assert (look.outcome, look.agreeing, look.contesting) == ("confirmed", ["domain features", "coverage"], [])
    assert look_again([panel(coverage=0.4)], [panel(coverage=0.9)]).outcome == "contested"


def test_fewer_than_half_of_the_kinds_do_not_confirm():
    look = look_again([panel(fd=1.0, domain=1.0, coverage=0.5)], [panel(fd=9.0, domain=1.1, coverage=0.5)])
    assert (look.outcome, look.agreeing) == ("unchecked", ["ImageNet features"])


def test_measures_of_one_kind_have_one_vote():
    look = look_again([panel(fd=1.0, kid=5.0, domain=9.0)], [panel(fd=3.0, kid=15.0, domain=1.0)])
    assert (look.outcome, look.contesting) == ("contested", ["domain features"])
    assert look.agreeing == ["ImageNet features"]


def test_neither_density_nor_the_measure_that_chose_the_winner_votes():
    objective = replace(IDENTITY, metric="fd", extractor="efficientnet_lite0")
    look = look_again([panel(fd=1.0, density=0.1)], [panel(fd=9.0, density=0.9)], objective)
    assert (look.outcome, len(look.differences), look.kinds) == ("unchecked", 2, {})


def test_seeds_lower_the_error_but_their_spread_counts():
    other = [panel(domain=13.0)]
    one = look_again([panel(domain=10.0)], other).kinds["domain features"]
    alike = look_again([panel(domain=value) for value in (9.9, 10.0, 10.1)], other).kinds["domain features"]
    apart = look_again([panel(domain=value) for value in (4.0, 10.0, 16.0)], other).kinds["domain features"]
    assert apart < one < alike
    assert apart == pytest.approx(3 / math.sqrt(36 / 3 + 1.3**2))


def test_scores_that_were_measured_in_another_way_do_not_vote():
    other = {
        name: replace(each, identity=replace(each.identity, samples=5)) for name, each in panel(domain=9.0).items()
    }
    assert look_again([panel(domain=1.0)], [other]).outcome == "unchecked"
    assert look_again([], [panel(domain=1.0)]).outcome == "unchecked"


@pytest.mark.parametrize(
    ("values", "outcome", "words"),
    [
        (
            {"domain": (1.0, 9.0), "coverage": (0.9, 0.1)},
            "confirmed",
            "Confirmed: 2 of 2 other kinds of measures agree, and none prefers b/t000",
        ),
        (
            {"domain": (9.0, 1.0), "coverage": (0.9, 0.1)},
            "contested",
            "Measures that prefer b/t0000: domain features; 1 of 2",
        ),
        ({"domain": (1.0, 1.1)}, "unchecked", "Not confirmed: 0 of 1 other kind of measures tell a/t000"),
        ({}, "unchecked", None),
    ],
)
def test_the_verdict_names_the_outcome(history, values, outcome, words):
    def trials(name, scores, side):
        scored = panel(**{key: pair[side] for key, pair in values.items()})
        again = Outcome(SamplingConfig(), 8, 0, scored, 1.0, 1.0, "cpu", "", 0.0, as_trained=True, panel=True)
        made = [history.trial(name, n, name, [(1e12, scores + n)]) for n in range(6)]
        events = [[ScoredAgain(each.trial, again, each.best.evaluation.images)] for each in made]
        return [changed(each, scored_again=kept) for each, kept in zip(made, events, strict=True)]

    comparison = compare([sweep("a", trials("a", 10.0, 0)), sweep("b", trials("b", 90.0, 1))])
    verdict = recommend(comparison)
    assert (verdict.recommended.trial.sweep, verdict.runner_up.trial.sweep) == ("a", "b")
    assert verdict.second_look.outcome == outcome
    assert not verdict.too_close
    first, *others = format_sentences(comparison, verdict)
    assert first.startswith("Contested by other measures") == (outcome == "contested")
    assert words is None or any(sentence.startswith(words) for sentence in others)
    found = comparison_json(comparison, verdict)["verdict"]
    assert found["second_look"]["outcome"] == outcome
    assert any("gensweep best --compare a b --panel" in each for each in found["warnings"]) == (not values)
