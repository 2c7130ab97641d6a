"""Data to stdout: tables for people, JSON and CSV for programs.  Progress and logs go to stderr, never here."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

__all__ = ["format_option", "print_json", "print_rows"]

C = TypeVar("C", bound=Callable[..., Any])

FORMATS = ("table", "json", "csv")
_NARROWEST = 60
_WIDE = 200


def format_option(command: C) -> C:
    """`--format table|json|csv`, handed to the command as `format`."""
    option = click.option(
        "--format",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="How to print rows; json and csv are stable.",
    )
    return option(command)


def print_json(value: Any) -> None:
    """Print plain values as JSON; numbers that JSON does not know become null."""
    click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str))


def print_rows(rows: Sequence[Mapping[str, Any]], format: str, *, titles: Mapping[str, str] | None = None) -> None:
    """Print rows that have the same keys.  `titles` are the column heads of the table; csv and json keep the keys.

    A table fits the terminal; into a pipe or file it is as wide as it needs to be, so that `grep` and `cut` see whole
    values.
    """
    if format == "json":
        print_json(list(rows))
    elif format == "csv":
        _print_csv(rows)
    elif rows:
        _print_table(rows, titles or {})


def _print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])


def _print_table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(file=sys.stdout, highlight=False, width=_WIDE)
    elif console.width < _NARROWEST:
        console = Console(file=sys.stdout, highlight=False, width=_NARROWEST)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    last = list(rows[0])[-1]
    for key in rows[0]:
        numbers = all(isinstance(row[key], int | float) or row[key] is None for row in rows)
        # Only the last column, which holds what has no natural width, may break lines.
        table.add_column(
            Text(titles.get(key, key)), justify="right" if numbers else "left", no_wrap=key != last, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(_cell(value, people=True)) for value in row.values()))
    console.print(table)


def _cell(value: Any, *, people: bool = False) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-" if people else ""
    if isinstance(value, bool):
        return str(value).lower()
    if people and isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if people and isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(_finite(value), ensure_ascii=False, default=str)
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
