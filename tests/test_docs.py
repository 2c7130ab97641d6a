import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from gensweep.cli.main import cli
from gensweep.config import load_sweep

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
COMMAND = re.compile(r"^\s*#?\s*(?:\$ )?(?:[A-Z_]+=\S+ )*gensweep ((?:[^#\n]|#\S)*)", re.MULTILINE)


def shown_commands():
    for page in [*PAGES, *SPACES]:
        for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
            # What follows a wide gap or a `>` is a remark or a file of the reader's.
            line = re.split(r"\s{3,}| > ", match.group(1).strip())[0].replace("~/Downloads", ".")
            if line.split()[0] in cli_names() and not re.search(r"[│|]|\.\.\.", line):
                yield pytest.param(line, id=f"{page.name}: {line}")


def cli_names():
    return cli.list_commands(click.Context(cli, **cli.context_settings))


@pytest.mark.parametrize("line", list(shown_commands()))
def test_commands_shown_to_users_parse(line):
    name, command, arguments = "gensweep", cli, shlex.split(line)
    context = click.Context(cli, info_name=name, **cli.context_settings)
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, info_name=name, parent=context, **command.context_settings)
    command.make_context(name, arguments, parent=context)


def test_generated_pages_are_current():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [
        path.name
        for path, text in generate.pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run: make docs"


def test_the_search_space_in_the_docs_is_valid(tmp_path):
    page = (ROOT / "docs" / "search_spaces.md").read_text(encoding="utf-8")
    file = tmp_path / "space.yaml"
    file.write_text(re.search(r"```yaml\n(name.*?)```", page, re.DOTALL)[1], encoding="utf-8")
    assert load_sweep(file).name == "ddpm-horses"
    assert load_sweep(file, scale="cpu").search.trials == 6


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
