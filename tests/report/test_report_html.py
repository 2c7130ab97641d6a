import base64
import hashlib
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recorded import changed, judged
from recorded import sweep as made_sweep

from gensweep.errors import GensweepError
from gensweep.report.caveats import caveats
from gensweep.report.html import breakable, gallery, render, write_report
from gensweep.report.verdict import format_sentences
from gensweep.results import Cost
from gensweep.sweep.stored_sweeps import load_sweeps
from gensweep.training.result_files import write_class_grid
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import recommend

NASTY = "<script>alert('x')</script>"
VOID = {"wbr", "meta", "img", "br", "path", "line", "rect"}
#: A page of the report can be sent by mail.
MAX_PAGE_BYTES = 5_000_000


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and checks that tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words, self._open = [], [], [], []
        self.feed(text.replace("<wbr>", ""))
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
    return render(comparison, recommend(comparison))


def test_the_page_needs_no_network(page):
    parsed = Page(page)
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in parsed.links)
    assert not {"link", "iframe", "object"} & set(parsed.tags)
    assert "http:" not in page
    assert "https:" not in page


def test_the_page_runs_no_script_but_its_own(page):
    [script] = re.findall(r"<script>(.*?)</script>", page, re.S)
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_page_of_many_trials_stays_below_its_limit(comparison):
    sweep = next(each for each in comparison.sweeps if each.name == "ddpm")
    first = next(each for each in sweep.trials if each.status == "finished")
    trials = [changed(first, trial=f"t{number:04d}") for number in range(150)]
    assert len(render(*judged([made_sweep(sweep.name, trials)]))) < MAX_PAGE_BYTES


def test_the_page_lists_the_best_of_many_trials(comparison, monkeypatch):
    monkeypatch.setattr("gensweep.report.html.MOST_ROWS", 2)
    verdict = recommend(comparison)
    verdict = replace(verdict, recommended=comparison.entries[-1])
    page = render(comparison, verdict)
    rows = re.findall(r"<tbody[^>]*>\s*<tr>\s*<td class=\"n\">(\d+)</td>", page)
    assert rows == ["1", "2", str(len(comparison.entries))]
    assert f" 3 of {len(comparison.entries)} are listed" in page
    assert "--format csv" in page


def test_the_page_answers_the_question(page, comparison):
    text, verdict = " ".join(" ".join(Page(page).words).split()), recommend(comparison)
    winner = verdict.recommended.trial
    assert winner.family == "diffusion"
    headline, *sentences = format_sentences(comparison, verdict)
    assert text.count(headline) == 2  # title and headline
    for words in (
        *sentences,
        *caveats(comparison, verdict),
        f"gensweep train --from-run {winner.name}",
        "NonFiniteLoss: loss/<generator> is nan",
        "generated images: 500 against 2,000",
    ):
        assert words in text, words
    for entry in comparison.entries:
        assert entry.trial.name in text


def test_a_thumbnail_has_the_first_images_without_names(comparison):
    """Images of 20 shades, sorted by class in the file and by number in the thumbnail."""
    trial, shades = recommend(comparison).recommended.trial, torch.arange(20) * 10
    images = shades.to(torch.uint8)[:, None, None, None].expand(-1, 1, 64, 64).contiguous()
    for file in trial.folder.pictures_of(trial.trial, "samples").values():
        write_class_grid(images, torch.arange(20) % 3, ["ant", "bee", "cat"], file)
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(url)))
        for url in re.findall(
            r'webp;base64,([^"]*)" alt="Samples of ' + trial.name, render(comparison, recommend(comparison))
        )
    ]
    thumbnail = np.asarray(pictures[0].convert("L"), dtype=float)
    side = thumbnail.shape[0] // 4
    middles = thumbnail[side // 2 :: side, side // 2 :: side]
    assert np.abs(middles - shades[:16].reshape(4, 4).numpy()).max() < 5


def test_the_gallery_shows_six_trials_with_the_recommended_and_running_ones(comparison):
    sweep = next(each for each in comparison.sweeps if each.name == "ddpm")
    whole = next(each for each in sweep.trials if each.status == "finished")
    worst = max((each for each in sweep.trials if each.status == "finished"), key=lambda each: each.score.value)
    others = [changed(whole, trial=f"t{number:04d}") for number in range(100, 110)]
    compared, verdict = judged([made_sweep(sweep.name, [*others, changed(worst, trial="t0200", status="running")])])
    rows = gallery(compared, replace(verdict, recommended=compared.entries[-2]))
    assert [entry.rank for entry, _ in rows] == [1, 2, 3, 4, 10, 11]
    for _, tiles in rows:
        assert [words.partition(":")[0] for _, words in tiles] == ["50 %", "100 %"]
    assert rows[0][1][-1][1] == f"100 %: {whole.curve[max(whole.curve)]:.4g}"


def test_whatever_users_named_is_escaped(comparison):
    sweeps = [
        made_sweep(sweep.name, [changed(each, error=NASTY, params={NASTY: 1}) for each in sweep.trials])
        for sweep in comparison.sweeps
    ]
    page = render(*judged(sweeps))
    assert Page(page).tags.count("script") == 1  # the page's own
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_a_lone_trial_without_pictures_costs_or_settings_makes_a_page_too(comparison, store):
    sweep = comparison.sweeps[0]
    trial = next(t for t in sweep.trials if t.score is not None and t.status != "failed")
    bare = changed(trial, params={}, checkpoint=None, cost=Cost())
    parsed = Page(render(*judged([made_sweep(sweep.name, [bare])])))
    text = " ".join(parsed.words)
    assert text.count(f"The best is {trial.name}") == 2
    assert f"{trial.score.value:.4g}" in text
    assert f"gensweep train --from-run {trial.name}" in text
    assert parsed.words.count("-") == 4  # images, training, sampling and parameters


def test_a_report_is_written_whole_or_not_at_all(comparison, tmp_path):
    file = tmp_path / "new" / "report.html"
    write_report(comparison, recommend(comparison), file)
    assert file.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [item.name for item in file.parent.iterdir()] == ["report.html"]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(GensweepError, match=r"cannot be written .* -o FILE"):
        write_report(comparison, recommend(comparison), Path(blocked) / "report.html")


def test_a_command_in_a_sentence_is_code_that_breaks_at_spaces():
    text = breakable("a/t1 has one seed; to see: gensweep tune --repeat <a>; else")
    words = "".join(f"<span>{word}</span> " for word in ("gensweep", "tune", "--repeat", "&lt;a&gt;")).rstrip()
    assert text == f"a/<wbr>t1 has one seed; to see: <code>{words}</code>; else"
