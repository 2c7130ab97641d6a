import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from recorded import judged

from gensweep.errors import GensweepError
from gensweep.report.budget_verdict import judge
from gensweep.report.comparison import compare
from gensweep.report.html import render, write_report
from gensweep.report.verdict import verdict_sentences
from gensweep.results import Cost
from gensweep.tracking.runs import load_sweeps

NASTY = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "path", "line", "rect"}
#: A page of the report can be sent by mail.
MAX_PAGE_BYTES = 5_000_000


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


def test_the_page_needs_no_network(page):
    parsed = Page(page)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in parsed.links)
    assert not {"link", "iframe", "object"} & set(parsed.tags)
    assert "http:" not in page
    assert "https:" not in page


def test_the_page_names_trials_as_the_tables_do(comparison, monkeypatch):
    """Of two sweeps of one name with the run id of each."""
    names = {key: f"{name} 0123abcd" for key, name in comparison.names.items()}
    monkeypatch.setitem(comparison.__dict__, "names", names)
    words = set(Page(render(comparison, judge(comparison))).words)
    assert {comparison.name_of(entry.trial) for entry in comparison.entries} <= words
    assert not {entry.trial.name for entry in comparison.entries} & words


def test_the_page_runs_no_script_but_its_own(page):
    [script] = re.findall(r"<script>(.*?)</script>", page, re.S)
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_page_of_many_trials_stays_below_its_limit(comparison):
    sweep = next(each for each in comparison.sweeps if each.name == "ddpm")
    first = next(each for each in sweep.trials if each.status == "finished")
    trials = tuple(replace(first, trial=f"t{number:04d}") for number in range(150))
    assert len(render(*judged([replace(sweep, trials=trials)]))) < MAX_PAGE_BYTES


def test_of_very_many_trials_the_page_lists_the_best_and_its_winner_and_says_where_all_are(comparison, monkeypatch):
    monkeypatch.setattr("gensweep.report.html.MOST_ROWS", 2)
    verdict = judge(comparison)
    verdict = replace(verdict, winner=comparison.entries[-1])
    page = render(comparison, verdict)
    rows = re.findall(r"<tbody[^>]*>\s*<tr>\s*<td class=\"n\">(\d+)</td>", page)
    assert rows == ["1", "2", str(len(comparison.entries))]
    assert f" 3 of {len(comparison.entries)} are listed" in page
    assert "--format csv" in page


def test_the_page_answers_the_question(page, comparison):
    text, verdict = " ".join(Page(page).words), judge(comparison)
    winner = verdict.winner.trial
    assert winner.family == "diffusion"
    headline, *sentences = verdict_sentences(comparison, verdict)
    assert text.count(headline) == 2  # title and headline
    for words in (
        *sentences,
        *verdict.warnings,
        "What a budget buys",
        "The Pareto front",
        f"gensweep train --from-run {winner.name}",
        "FD-EffNetLite0",
        "2,000 generated images",
        "Optimisation history",
        "against cost",
        "Scores by setting",
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


def test_samples_stand_side_by_side_and_real_images_beside_them(page):
    assert Page(page).tags.count("img") == 3
    assert page.count('alt="Real images"') == 1
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
    assert Page(page).tags.count("script") == 1  # the page's own
    assert "<script>alert" not in page
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
    for missing in (
        "against cost",
        "The Pareto front",
        "What mattered",
        "Could early scores be trusted",
        "Failed trials",
    ):
        assert missing not in text
    assert parsed.words.count("-") == 4  # images, training, sampling and parameters


@pytest.mark.parametrize("uri", ["http://user:secret@mlflow.example:5000/base/", "https://mlflow.example:5000/base"])
def test_trials_lead_to_their_runs_on_a_server_without_its_credentials(comparison, uri, monkeypatch):
    monkeypatch.setattr("mlflow.tracking.get_tracking_uri", lambda: uri)
    page = render(comparison, judge(comparison))
    trial = comparison.winner.trial
    scheme = uri.partition(":")[0]
    assert (
        f"{scheme}://mlflow.example:5000/base/#/experiments/1/runs/{trial.run_id}?workflowType=machine_learning"
        in Page(page).links
    )
    assert "secret" not in page
    assert "mlflow ui" not in page


def test_without_a_server_the_page_says_how_to_see_the_runs(page, comparison):
    text = " ".join(Page(page).words)
    assert "mlflow ui" in text
    assert comparison.winner.trial.run_id in text


def test_a_report_is_written_whole_or_not_at_all(comparison, tmp_path):
    file = tmp_path / "new" / "report.html"
    write_report(comparison, judge(comparison), file)
    assert file.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [item.name for item in file.parent.iterdir()] == ["report.html"]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(GensweepError, match=r"cannot be written .* --html FILE"):
        write_report(comparison, judge(comparison), Path(blocked) / "report.html")


def test_values_without_bias_that_are_partly_guessed_say_so(comparison):
    def guessed(trial):
        score = trial.objective and replace(trial.objective, corrected=40.0, error=2.0, needed=9999)
        return replace(trial, objective=score)

    sweeps = [replace(sweep, trials=tuple(map(guessed, sweep.trials))) for sweep in comparison.sweeps]
    page = render(*judged(sweeps))
    assert "~40 (36.1 to 43.9)" in page
    assert "partly a guess (~): 2,000 images do not show all directions of these features, 9,999 would." in page
