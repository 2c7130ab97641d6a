"""Data to stdout: tables for people, JSON and CSV for programs.  Warnings and progress go to stderr."""

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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

C = TypeVar("C", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv")
#: Columns of a table into a pipe or file.
PIPE_WIDTH = 200
#: Columns that the last column of a table gets at least, or else lines of its own.
MIN_LAST_WIDTH = 30
_NUMBER = re.compile(r"-|-?[\d.,]+(e[+-]?\d+)?[kMG]?")


def option_bundle(*options: Callable[[Any], Any]) -> Callable[[C], C]:
    """Several options as one decorator; help shows them in this order."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def format_option(command: C) -> C:
    """`--format table|json|csv`, handed to the command as `format`."""
    words = "How to print rows; json and csv are stable."
    return click.option("--format", type=click.Choice(FORMATS), default="table", show_default=True, help=words)(command)


def print_json(value: Any) -> None:
    """Print plain values as JSON; numbers that JSON does not know become null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], format: str) -> None:
    """Print rows that have the same keys.

    A table fits the terminal; into a pipe or file it is as wide as it needs to be, so that `grep` and `cut` see whole
    values.
    """
    if format == "json":
        print_json(list(rows))
    elif format == "csv":
        sys.stdout.write(csv_text(rows))
    elif rows:
        _print_table(rows)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, under a line of the keys; the empty string if there are none.

    What is nested has a column a value, under its dotted key, so that no cell holds more than text, a number or a list.
    """
    if not rows:
        return ""
    flat = [dict(_leaves(row)) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in flat:
        # The csv module of Python before 3.13 does not quote a lone carriage return, which readers take for a new row.
        writer.writerow([_cell(row.get(key)).replace("\r\n", "\n").replace("\r", "\n") for key in columns])
    return file.getvalue()


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def print_warnings(lines: Iterable[str]) -> None:
    """Print warnings to stderr."""
    for line in lines:
        click.echo(f"Warning: {line}", err=True)


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr if that is a terminal, else nothing; what it gives is to be told how much of `total` is done."""
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not (console.is_terminal and total)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(file=sys.stdout, highlight=False, width=PIPE_WIDTH)
    columns = [[key, *(_cell(row[key], people=True) for row in rows)] for key in rows[0]]
    widths = [max(map(cell_len, column)) for column in columns]
    # The last column has no natural width.  Where it would be squeezed, it gets lines of its own below each row.
    last = len(columns) - 1
    below = last > 0 and sum(widths[:-1]) + 2 * last + min(widths[-1], MIN_LAST_WIDTH) > console.width
    gap = 1 if below else 2
    table = Table(box=None if below else SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    shown = columns[:-1] if below else columns
    for index, (head, *cells) in enumerate(shown):
        justify: Any = "right" if all(_NUMBER.fullmatch(cell) for cell in cells) else "left"
        width = None if index == last else widths[index]
        table.add_column(Text(head), justify=justify, no_wrap=index < last, min_width=width)
    for row in zip(*(cells for _, *cells in shown), strict=True):
        table.add_row(*map(Text, row))
    if below:
        _print_below(console, table, columns[-1][1:])
    else:
        console.print(table)


def _print_below(console: Console, table: Table, remarks: Sequence[str]) -> None:
    # Wider than the terminal only if the columns that must be whole are: better a wrapped line than a cut name.
    lines = console.render_lines(table, console.options.update(width=max(console.width, 400)))
    head, *body = ["".join(segment.text for segment in line).rstrip() for line in lines]
    click.echo(click.style(head, bold=console.is_terminal and not console.no_color))
    for line, remark in zip(body, remarks, strict=True):
        click.echo(line)
        for part in textwrap.wrap(remark, max(20, console.width - 4)):
            click.echo(f"    {part}")


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
        nested = any(isinstance(item, list | tuple) for item in value)
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
