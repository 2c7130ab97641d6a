"""The commands that pages and search spaces show to their readers, read as a shell and click read them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gensweep.cli.main import cli

COMMAND = re.compile(r"^\s*#?\s*(?:\$ )?(?:[A-Z_]+=\S+ )*gensweep ((?:[^#\n]|#\S)*)", re.MULTILINE)


@dataclass(frozen=True)
class Parsed:
    """The command that a line calls, such as `data fetch`, and the values that it gives."""

    command: str
    values: dict[str, Any]
    options: frozenset[str]
    """All spellings of the options that it gives."""


def shown_lines(page: Path) -> list[str]:
    """What follows `gensweep` in the lines that show a whole command."""
    lines = []
    for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
        # What follows a wide gap or a `>` is a remark or a file of the reader's.
        line = re.split(r"\s{3,}| > ", match[1].strip())[0].replace("~/Downloads", ".")
        if line.split()[0] in cli.list_commands(click.Context(cli)) and not re.search(r"[│|]|\.\.\.", line):
            lines.append(line)
    return lines


def parse(line: str, program: click.Command = cli) -> Parsed:
    """Down to its last sub-command, without running anything.  Raises click's errors."""
    command, words, path = program, shlex.split(line), []
    context = click.Context(program, **program.context_settings)
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        path.append(name)
        command, context = found, click.Context(found, info_name=name, parent=context, **found.context_settings)
    command.parse_args(context, words)
    sources = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    given = [p for p in command.params if context.get_parameter_source(p.name) in sources]
    values = {p.name: context.params[p.name] for p in given}
    return Parsed(" ".join(path), values, frozenset(spelling for p in given for spelling in p.opts))
