import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from recorded import judged

from gensweep.errors import GensweepError
from gensweep.report.budget_verdict import judge
from gensweep.report.charts import draw_charts
from gensweep.report.comparison import compare
from gensweep.report.html import render, write_report
from gensweep.report.verdict import verdict_words
from gensweep.results import Cost
from gensweep.tracking.runs import load_sweeps

NASTY = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "path", "use", "rect"}


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words, self._open = [], [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "srcset")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


@pytest.fixture(scope="module")
def comparison(store):
    return compare(load_sweeps())


@pytest.fixture(scope="module")
def page(comparison):
    return render(comparison, judge(comparison))


def test_the_page_needs_no_network_and_runs_no_script(page):
    parsed = Page(page)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in parsed.links)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)


def test_the_page_answers_the_question(page, comparison):
    text = " ".join(Page(page).words)
    winner = comparison.winner.trial
    assert winner.family == "diffusion"
    assert text.count(verdict_words(comparison, judge(comparison))) == 2  # title and headline
    for words in (
        f"gensweep train --from-run {winner.name}",
        "FD-EffNetLite0",
        "2,000 generated images",
        "Optimisation history",
        "against cost",
        "What mattered",
        "Every trial",
        "How the games went",
        "timesteps of the diffusion",
        "NonFiniteLoss: loss/<generator> is nan",
        "generated images: 500 against 2,000",
        "kind: diffusion",
    ):
        assert words in text, words
    for entry in comparison.entries:
        assert entry.trial.name in text


def test_samples_stand_side_by_side(page):
    assert Page(page).tags.count("img") == 2
    assert "data:image/png;base64," in page


def test_whatever_users_named_is_escaped(comparison):
    sweeps = tuple(
        replace(
            sweep,
            name=NASTY + sweep.name,
            trials=tuple(replace(t, sweep=NASTY + t.sweep, error=NASTY, params={NASTY: 1}) for t in sweep.trials),
        )
        for sweep in comparison.sweeps
    )
    page = render(*judged(sweeps))
    assert "script" not in Page(page).tags
    assert "&lt;script&gt;" in page


def test_a_lone_trial_without_pictures_costs_or_settings_makes_a_page_too(comparison, store):
    sweep = comparison.sweeps[0]
    trial = next(t for t in sweep.trials if t.objective is not None and t.status != "failed")
    bare = replace(trial, params={}, checkpoint=None, cost=Cost(), run_id=trial.run_id)
    parsed = Page(render(*judged([replace(sweep, trials=(bare,))])))
    text = " ".join(parsed.words)
    assert text.count(f"the best is {trial.name}") == 2
    assert f"{trial.objective.value:.4g}" in text
    assert f"gensweep train --from-run {trial.name}" in text
    assert "Optimisation history" in text
    for missing in ("against cost", "What mattered", "Could early scores be trusted", "Failed trials"):
        assert missing not in text
    assert parsed.words.count("-") == 4  # images, training, sampling and parameters


def test_the_curve_of_the_best_trial_of_each_group_comes_first(comparison, monkeypatch):
    drawn = {}
    monkeypatch.setattr("gensweep.report.figures.curves_figure", lambda groups, title: drawn.update(groups) or "")
    draw_charts(comparison)
    assert {name: curves[0].label for name, curves in drawn.items()} == {
        name: min(group, key=lambda each: each.rank).trial.trial for name, group in comparison.groups.items()
    }
    assert any(curves[0].label != "t0000" for curves in drawn.values())


def test_a_report_is_written_whole_or_not_at_all(comparison, tmp_path):
    file = tmp_path / "new" / "report.html"
    write_report(comparison, judge(comparison), file)
    assert file.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [item.name for item in file.parent.iterdir()] == ["report.html"]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(GensweepError, match=r"cannot be written .* --html FILE"):
        write_report(comparison, judge(comparison), Path(blocked) / "report.html")
