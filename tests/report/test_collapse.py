"""Collapse is marked wherever a score is shown."""

import csv
import io
import json

import pytest
from made_up import diffusion, gan, mlflow_store, write_sweep
from recorded import judged

from gensweep.cli.main import run
from gensweep.report.budget_verdict import judge
from gensweep.report.collapse import diversity_words, warnings_of
from gensweep.report.comparison import compare
from gensweep.report.html import render
from gensweep.tracking.runs import find_sweep, load_sweeps

WORDS = "collapsed: samples are 4.1 % as diverse as real images"
SIGNALS = {"diversity": 0.041, "signal/accuracy_real": 0.9994, "signal/accuracy_fake": 1.0}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Of two sweeps the one that is better by its score has collapsed."""
    with mlflow_store(tmp_path_factory.mktemp("store")) as folder:
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
            ["memorised: 50 % of samples are as near to a training image as copies are"],
        ),
        ({"signal/accuracy_real": 0.8, "signal/accuracy_fake": 1.0}, "-", []),
        (
            {"diversity": 0.5, "signal/accuracy_real": 0.9994, "signal/accuracy_fake": 1.0},
            "50 %",
            ["the discriminator wins: right on 100 % of real and 100 % of generated images"],
        ),
    ],
)
def test_what_signals_say(signals, cell, warnings):
    assert diversity_words(signals) == cell
    assert warnings_of(signals) == warnings


def test_signals_of_the_best_checkpoint_come_back_from_the_store(store):
    assert SIGNALS.items() <= find_sweep("collapsed").trials[0].signals.items()


def test_a_collapsed_winner_is_no_plain_success(store):
    comparison = compare(load_sweeps())
    assert comparison.winner.trial.sweep == "collapsed"
    assert judge(comparison).warnings[:2] == (
        f"{comparison.winner.trial.name} {WORDS}",
        f"{comparison.winner.trial.name} the discriminator wins: right on 100 % of real and 100 % of generated images",
    )
    page = render(comparison, judge(comparison))
    assert page.count(f'<small class="warning">{WORDS}') == 1
    assert page.count(f'<span class="warning">{WORDS}') == 2


def test_the_commands_mark_it(store, capsys):
    assert run(["trials", "collapsed"]) == 0
    out, err = capsys.readouterr()
    assert out.count("4.1 %, collapsed") == 2
    assert f"Warning: t0000 {WORDS}" in err
    assert run(["best", "--compare", "--no-html", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    entries = json.loads(out)["entries"]
    assert [WORDS in entry["warnings"] for entry in entries] == [entry["sweep"] == "collapsed" for entry in entries]
    assert SIGNALS.items() <= entries[0]["signals"].items()
    assert " ".join(err.split()).count(f"Warning: collapsed/t0000 {WORDS}") == 1
    assert run(["best", "--compare", "--no-html", "--format", "csv"]) == 0
    rows = [row for row in csv.DictReader(io.StringIO(capsys.readouterr().out)) if row["sweep"] == "collapsed"]
    assert [row["warnings"].startswith(f"{WORDS}; the discriminator wins") for row in rows] == [True, True]
    assert [row["signals.diversity"] for row in rows] == ["0.041", "0.041"]
    assert run(["best", "collapsed"]) == 0
    assert WORDS in capsys.readouterr().err


def test_what_is_diverse_is_not_marked(store, capsys):
    for command in (["trials", "ddpm"], ["best", "ddpm"]):
        assert run(command) == 0
        out, err = capsys.readouterr()
        assert "70 %" in out
        assert "collapsed" not in out
        assert "Warning" not in err


def test_copies_are_warned_of_and_shown_beside_their_originals(tmp_path):
    signals = {"diversity": 0.9, "authpct/memorised": 0.4}
    with mlflow_store(tmp_path) as folder:
        write_sweep(folder, "copying", diffusion, 1, seed=1, rungs=1, signals=signals)
        page = render(*judged(load_sweeps()))
    assert "memorised: 40 % of samples are as near to a training image as copies are" in page
    assert page.count('alt="Likeliest copies, each left of its original"') == 1
