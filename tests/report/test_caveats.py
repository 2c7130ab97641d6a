"""Collapse is marked wherever a score is shown."""

import json
from dataclasses import replace

import pytest
from logged import LoggedSweep
from made_up import IDENTITY, diffusion, gan, project, write_sweep
from recorded import judged, trial

from gensweep.cli.main import run
from gensweep.report.caveats import caveats, format_diversity, trial_warnings, warnings_of
from gensweep.report.html import render
from gensweep.results import Anchor, Evaluation, Score
from gensweep.sweep.events import Evaluated
from gensweep.sweep.stored_sweeps import load_sweeps
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import recommend

WORDS = "collapsed: samples are 4.1 % as diverse as real images"
SIGNALS = {"diversity": 0.041, "signal/accuracy_real": 0.9994, "signal/accuracy_fake": 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Of two sweeps the one that is better by its score has collapsed."""
    with project(tmp_path_factory.mktemp("store")) as folder:
        write_sweep(folder, "ddpm", diffusion, 2, seed=1, rungs=1)
        write_sweep(folder, "collapsed", gan, 2, seed=2, rungs=1, signals=SIGNALS)
        yield folder


@pytest.mark.parametrize(
    ("signals", "cell", "warnings"),
    [
        ({}, "-", []),
        ({"diversity": 0.83}, "83 %", []),
        ({"diversity": 0.0}, "0 %, collapsed", ["collapsed: samples are 0 % as diverse as real images"]),
        ({"diversity": 0.041}, "4.1 %, collapsed", [WORDS]),
        ({"authpct/memorised": 0.256}, "-", []),
        (
            {"authpct/memorised": 0.5},
            "-",
            ["memorised: 50 % of samples look like copies of training images"],
        ),
        ({"signal/accuracy_real": 0.8, "signal/accuracy_fake": 1.0}, "-", []),
        (
            {"diversity": 0.5, "signal/accuracy_real": 0.9994, "signal/accuracy_fake": 1.0},
            "50 %",
            ["the discriminator wins: right on 100 % of real and 100 % of generated images"],
        ),
        ({"signal/collapsed_units": 0.45}, "-", []),
        (
            {"signal/collapsed_units": 0.75},
            "-",
            ["posterior collapse: 75 % of the latent units carry no information"],
        ),
    ],
)
def test_what_signals_say(signals, cell, warnings):
    assert format_diversity(signals) == cell
    assert warnings_of(signals) == warnings


def test_a_collapsed_winner_is_no_plain_success(store):
    comparison = compare(load_sweeps())
    assert comparison.best_score.trial.sweep == "collapsed"
    best = comparison.best_score.trial.name
    assert list(caveats(comparison, recommend(comparison)))[:2] == [
        f"{best} {WORDS}",
        f"{best} the discriminator wins: right on 100 % of real and 100 % of generated images",
    ]
    page = render(comparison, recommend(comparison))
    assert page.count(f'<small class="warning">{WORDS}') == 1
    assert page.count(f'<span class="warning">{WORDS}') == 2


def test_copies_are_warned_of_and_shown_beside_their_originals(tmp_path):
    signals = {"diversity": 0.9, "authpct/memorised": 0.4}
    with project(tmp_path) as folder:
        write_sweep(folder, "copying", diffusion, 1, seed=1, rungs=1, signals=signals)
        page = render(*judged(load_sweeps()))
    assert "memorised: 40 % of samples look like copies of training images" in page
    assert page.count('alt="Possible copies, each left of its original"') == 1


NOISE = Anchor(340.0, "noise", 2000, error=10.0)
LIKE_NOISE = "no better than outputting noise"
NEVER = "best at its first evaluation"


def test_scores_of_noise_and_rising_scores_are_warned_of_first():
    bad = Score(330.0, "min", IDENTITY, ceiling=NOISE)
    found = trial("a", 0, None, objective=bad, signals={"diversity": 0.041})
    later = Evaluation(2000, {"fd": replace(bad, value=340.0)})
    found.evaluations |= {2000: Evaluated("t0000", later, None)}
    assert trial_warnings(found) == [LIKE_NOISE, NEVER, WORDS]
    assert trial_warnings(trial("a", 0, None, objective=Score(300.0, "min", IDENTITY, ceiling=NOISE))) == []
    assert trial_warnings(trial("a", 0, None)) == []


def test_the_verdict_and_the_commands_say_what_a_score_is_read_beside(tmp_path, capsys):
    floor = Anchor(30.0, "digits/test", 2000, corrected=12.0, error=1.0)
    with project(tmp_path) as folder:
        sweep = LoggedSweep(folder / "sweeps", "bad", trials=1)
        sweep.start("t0000")
        for images, value in ((100, 335.0), (200, 380.0)):
            sweep.evaluate("t0000", images, value, identity=IDENTITY, floor=floor, ceiling=NOISE)
        sweep.end("t0000")
        sweep.close()
        comparison = compare(load_sweeps())
        assert comparison.anchors == (floor, NOISE)
        said = list(caveats(comparison, recommend(comparison)))[:2]
        assert said == [f"bad/t0000 {LIKE_NOISE}", f"bad/t0000 {NEVER}"]
        assert run(["best", "--compare", "--no-html", "--format", "json"]) == 0
        out, err = capsys.readouterr()
        found = json.loads(out)
        (entry,) = found["entries"]
        assert (found["verdict"]["floor"], found["verdict"]["ceiling"]["value"]) == (entry["objective"]["floor"], 340.0)
        assert "Real images score 30 (28 to 32), noise 340.\n" in err
        assert entry["warnings"] == [LIKE_NOISE, NEVER]
