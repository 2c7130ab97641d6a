"""Print tables, facts, JSON and CSV to stdout, and notes and progress to stderr.  Lines fit the terminal."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar

import click

C = TypeVar("C", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv")
#: A last column wider than this holds prose and needs no header.
MIN_LAST_WIDTH = 30
#: Spaces between two columns.
GAP = 3
#: Narrowest terminal that lines are fitted to, in columns.
MIN_WIDTH = 20
#: Prefix of a continuation line.
INDENT = "    "
_NUMBER = re.compile(r"-|-?[\d.,]+(e[+-]?\d+)?[kMG]?")


def option_bundle(*options: Callable[[Any], Any]) -> Callable[[C], C]:
    """Combine options into one decorator, in the order of the help."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def format_option(command: C) -> C:
    """`--format table|json|csv`, passed to the command as `format`."""
    words = "How to print rows; json and csv are stable."
    return click.option("--format", type=click.Choice(FORMATS), default="table", show_default=True, help=words)(command)


def print_json(value: Any) -> None:
    """Print plain values as JSON; NaN and infinity become null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], format: str) -> None:
    """Print rows with the same keys; a table is fitted to a terminal, not to a pipe."""
    if format == "json":
        print_json(list(rows))
    elif format == "csv":
        sys.stdout.write(csv_text(rows))
    elif rows:
        print_table({key: [_cell(row[key], people=True) for row in rows] for key in rows[0]})


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a column per nested value under its dotted key; empty without rows."""
    if not rows:
        return ""
    from gensweep.config.tree import flatten  # a slow import that --help does not need

    flat = [dict(flatten(row)) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in flat:
        # Before Python 3.13, csv does not quote a lone carriage return, which readers treat as a new row.
        writer.writerow([_cell(row.get(key)).replace("\r\n", "\n").replace("\r", "\n") for key in columns])
    return file.getvalue()


def print_warnings(lines: Iterable[str]) -> None:
    """Print warnings to stderr."""
    for line in lines:
        print_remark(f"Warning: {line}")


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's stderr; call the result with the part of `total` that is done."""
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (console.is_terminal and total)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


def _cell(value: Any, *, people: bool = False) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-" if people else ""
    if isinstance(value, bool):
        return str(value).lower()
    if people and isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if people and isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        nested = any(isinstance(item, list | tuple | Mapping) for item in value)
        return ("; " if nested or any(isinstance(item, str) for item in value) else " ").join(map(_cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_cell(item)}" for key, item in value.items())
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def print_table(columns: Mapping[str, Sequence[str]]) -> None:
    """Print columns under their headers; in a pipe, each row is one line.

    Columns that do not fit the terminal follow below each row with their headers; long texts have none.
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
    """A column of constant width; numbers are aligned right."""
    from rich.cells import cell_len

    right = all(map(_NUMBER.fullmatch, cells))
    blanks = ((cell, " " * (width - cell_len(cell))) for cell in (name, *cells))
    return [blank + cell if right else cell + blank for cell, blank in blanks]


def print_facts(facts: Mapping[str, str], commands: Collection[str] = ()) -> None:
    """Print labelled texts; labels in `commands` mark shell commands, which are not wrapped."""
    indent = max(map(len, facts)) + 2
    for name, words in facts.items():
        first = f"{name:<{indent}}"
        lines = [first + words] if name in commands else _wrapped(words, sys.stdout, first, " " * indent)
        for line in lines:
            click.echo(line)


def print_remark(text: str, command: str | None = None) -> None:
    """Print a sentence to stderr, then an unwrapped shell command."""
    for line in _wrapped(text, sys.stderr, "", INDENT) if command is None else [f"{text} {command}"]:
        click.echo(line, err=True)


def terminal_width(stream: TextIO) -> int | None:
    """Width of the stream's terminal in columns, or $COLUMNS; None for a pipe or file without it."""
    from rich.console import Console

    console = Console(file=stream)
    return max(MIN_WIDTH, console.width) if console.is_terminal or "COLUMNS" in os.environ else None


def _wrapped(text: str, stream: TextIO, first: str, others: str) -> list[str]:
    """Lines of a text, wrapped between words if the stream is a terminal."""
    width = terminal_width(stream)
    if not text:
        return []
    if width is None or len(first) + len(text) <= width:
        return [first + text]
    fitted = textwrap.TextWrapper(
        width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
    return fitted.wrap(text)
