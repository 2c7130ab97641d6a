"""Data to stdout: tables for people, JSON and CSV for programs.  Warnings and progress go to stderr."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from gensweep.report.terminal import print_remark, print_table

C = TypeVar("C", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv")


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
        print_table({key: [_cell(row[key], people=True) for row in rows] for key in rows[0]})


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, under a line of the keys; the empty string if there are none.

    What is nested has a column a value, under its dotted key, so that no cell holds more than text, a number or a list.
    """
    if not rows:
        return ""
    from gensweep.config.tree import flatten  # here, as help needs no configuration

    flat = [dict(flatten(row)) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in flat:
        # The csv module of Python before 3.13 does not quote a lone carriage return, which readers take for a new row.
        writer.writerow([_cell(row.get(key)).replace("\r\n", "\n").replace("\r", "\n") for key in columns])
    return file.getvalue()


def print_warnings(lines: Iterable[str]) -> None:
    """Print warnings to stderr."""
    for line in lines:
        print_remark(f"Warning: {line}")


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
