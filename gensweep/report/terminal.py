"""Tables, facts and remarks as wide as the terminal: lines break between words, and never inside of a name."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TextIO

import click

#: A last column that is wider than this holds texts, which need no name.
MIN_LAST_WIDTH = 30
#: Blanks between two columns.
GAP = 3
#: Columns of the narrowest terminal that lines are fitted to.
MIN_WIDTH = 20
#: What stands before a line that goes on with the one above.
INDENT = "    "
_NUMBER = re.compile(r"-|-?[\d.,]+(e[+-]?\d+)?[kMG]?")


def print_table(columns: Mapping[str, Sequence[str]]) -> None:
    """Print columns of cells under their names.

    Columns that do not fit the terminal follow in lines below each row, with their names; a last column of long texts
    has no name there.  Into a pipe each row is one line, however long.
    """
    from rich.cells import cell_len

    names, width = list(columns), terminal_width(sys.stdout)
    widths = [max(map(cell_len, (name, *cells))) for name, cells in columns.items()]
    ends = [sum(widths[:count]) + GAP * (count - 1) + 2 for count in range(1, len(names) + 1)]
    padded = [_padded(name, cells, wide) for (name, cells), wide in zip(columns.items(), widths, strict=True)]
    beside = len(names) if width is None else max(1, sum(end <= width for end in ends))
    head, *rows = [f" {(' ' * GAP).join(row)}".rstrip() for row in zip(*padded[:beside], strict=True)]
    if beside == len(names):
        click.echo("\n".join(["", head, f" {'─' * (ends[-1] - 2)}", *rows, ""]))
        return
    free = names[-1] if widths[-1] > MIN_LAST_WIDTH else None
    click.echo(click.style(head, bold=True))
    for row, line in enumerate(rows):
        click.echo(line)
        below = [f"{name} {columns[name][row]}" for name in names[beside:] if name != free]
        values = ", ".join(text.replace(" ", "\N{NO-BREAK SPACE}") for text in below)
        for text in (values, "" if free is None else columns[free][row]):
            for part in _wrapped(text, sys.stdout, INDENT, INDENT):
                click.echo(part.replace("\N{NO-BREAK SPACE}", " "))


def _padded(name: str, cells: Sequence[str], width: int) -> list[str]:
    """A column of one width; numbers stand on the right."""
    from rich.cells import cell_len

    right = all(map(_NUMBER.fullmatch, cells))
    blanks = ((cell, " " * (width - cell_len(cell))) for cell in (name, *cells))
    return [blank + cell if right else cell + blank for cell, blank in blanks]


def print_facts(facts: Mapping[str, str], commands: Collection[str] = ()) -> None:
    """Print words beside their names; those named in `commands` are shell commands, which stay in one line."""
    indent = max(map(len, facts)) + 2
    for name, words in facts.items():
        first = f"{name:<{indent}}"
        lines = [first + words] if name in commands else _wrapped(words, sys.stdout, first, " " * indent)
        for line in lines:
            click.echo(line)


def print_remark(text: str, command: str | None = None) -> None:
    """Print a sentence to stderr, and after it a shell command, which stays in one line."""
    for line in _wrapped(text, sys.stderr, "", INDENT) if command is None else [f"{text} {command}"]:
        click.echo(line, err=True)


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream goes to, or $COLUMNS; None for a pipe or file without that."""
    from rich.console import Console

    console = Console(file=stream)
    return max(MIN_WIDTH, console.width) if console.is_terminal or "COLUMNS" in os.environ else None


def _wrapped(text: str, stream: TextIO, first: str, others: str) -> list[str]:
    """The lines of a text, broken between words where the stream goes to a terminal."""
    width = terminal_width(stream)
    if not text:
        return []
    if width is None or len(first) + len(text) <= width:
        return [first + text]
    fitted = textwrap.TextWrapper(
        width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
    return fitted.wrap(text)
