"""What the pages and the shipped spaces show to their readers works as shown."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from shown_commands import parse, shown_lines

from gensweep.cli.main import run
from gensweep.config import load_sweep
from gensweep.families.family import FAMILIES
from gensweep.search.space import sample

ROOT = Path(__file__).parent.parent
NOTEBOOK = sorted(ROOT.glob("experiments/**/README.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *NOTEBOOK]
SPACES = [*sorted(ROOT.glob("search_spaces/*.yaml")), *sorted(ROOT.glob("experiments/*/*.yaml"))]
SHOWN = {page: shown_lines(page) for page in [*PAGES, *SPACES]}
EVERY_LINE = sorted({line for lines in SHOWN.values() for line in lines})
ALONE = re.compile(r"config (schema|validate [^*]*$)|doctor|data list|data show digits")
"""Commands that need neither a run, nor a download, nor files of the reader's; and not what test_search_spaces does."""
CHANGED_SPACE = re.compile(r"(tune|train) (search_spaces|experiments)/.* --(set|scale)")


@pytest.mark.parametrize("line", EVERY_LINE)
def test_a_shown_command_takes_every_option_that_it_is_shown_with(line):
    shown = {word.partition("=")[0] for word in shlex.split(line) if re.match(r"--?[a-z]", word)}
    assert shown <= parse(line).options


@pytest.mark.trains
@pytest.mark.parametrize("line", [line for line in EVERY_LINE if ALONE.match(line)])
def test_a_shown_command_that_needs_nothing_does_something(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    assert run(shlex.split(line)) == 0
    picture = parse(line).values.get("picture")
    assert capsys.readouterr().out if picture is None else picture.is_file()


@pytest.mark.trains
@pytest.mark.parametrize("line", [line for line in EVERY_LINE if CHANGED_SPACE.match(line)])
def test_a_space_takes_the_settings_that_it_is_shown_with(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    values = parse(line).values
    changes = [f"name={values['name']}"] if "name" in values else []
    sweep = load_sweep(values["file"], overrides=[*changes, *values.get("overrides", ())], scale=values.get("scale"))
    assert sweep.trial(sample(sweep.nodes(), 0)).kind("family") in FAMILIES
    assert sweep != load_sweep(values["file"])


@pytest.mark.trains
def test_generated_pages_are_current():
    # In a process of its own, as what other tests import and set changes the help.
    look = "import generate; print([p.name for p, t in generate.pages().items() if p.read_text() != t])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "docs"), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", f"run: make docs\n{done.stderr}"


def test_the_search_space_in_the_docs_is_valid(tmp_path):
    page = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
    file = tmp_path / "space.yaml"
    file.write_text(re.search(r"```yaml\n(name.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    assert load_sweep(file).name == "ddpm-horses"
    assert load_sweep(file, scale="cpu").search.trials == 6


def headings(page):
    """The anchors of a page's headings, as GitHub and the site make them."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not anchor or anchor in headings(there), f"{page.name} links to {target}#{anchor}"
