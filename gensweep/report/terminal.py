"""Tables, facts and remarks as wide as the terminal: lines break between words, and never inside of a name."""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from rich.table import Table

#: Columns that the last column of a table gets at least, or else lines of its own.
MIN_LAST_WIDTH = 30
#: Columns of the narrowest terminal that lines are fitted to.
MIN_WIDTH = 20
#: What stands before a line that goes on with the one above.
INDENT = "    "
#: How a shell is told that a command goes on in the next line.
CONTINUED = " \\"
_NUMBER = re.compile(r"-|-?[\d.,]+(e[+-]?\d+)?[kMG]?")


def print_table(columns: Mapping[str, Sequence[str]]) -> None:
    """Print columns of cells under their names.

    The first columns stand in one line a row.  What does not fit beside them follows in lines below each row: further
    columns with their names, and a last column of free text.  Into a pipe each row is one line, however long.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, (name, *cells))) for name, cells in columns.items()]
    width = terminal_width(sys.stdout)
    longest_word = max((cell_len(word) for cell in list(columns.values())[-1] for word in cell.split()), default=0)
    last = min(widths[-1], max(MIN_LAST_WIDTH, longest_word))
    if width is None:
        _print_lines(columns, widths)
    elif sum(widths[:-1]) + last + _frame(len(widths)) <= width:
        _print_whole(columns, widths, width)
    else:
        _print_with_lines_below(columns, widths, width)


def print_facts(facts: Mapping[str, str], commands: Collection[str] = ()) -> None:
    """Print words beside their names; those named in `commands` are shell commands, which can be pasted as printed."""
    indent = max(map(len, facts)) + 2
    for name, words in facts.items():
        for line in _wrapped(words, sys.stdout, f"{name:<{indent}}", " " * indent, command=name in commands):
            click.echo(line)


def print_remark(text: str, command: str | None = None) -> None:
    """Print a sentence to stderr, and after it a shell command, which can be pasted as it stands."""
    if command is None:
        lines = _wrapped(text, sys.stderr, "", INDENT)
    else:
        lines = _wrapped(command, sys.stderr, f"{text} ", INDENT, command=True)
    for line in lines:
        click.echo(line, err=True)


def terminal_width(stream: TextIO) -> int | None:
    """Columns of the terminal that a stream goes to, or $COLUMNS; None for a pipe or file without that."""
    from rich.console import Console

    console = Console(file=stream)
    return max(MIN_WIDTH, console.width) if console.is_terminal or "COLUMNS" in os.environ else None


def _print_lines(columns: Mapping[str, Sequence[str]], widths: Sequence[int]) -> None:
    """Each row in a line; rich would take 5 s for 10,000."""
    from rich.cells import cell_len

    padded = []
    for (name, cells), width in zip(columns.items(), widths, strict=True):
        right, blanks = _is_numeric(cells), [" " * (width - cell_len(cell)) for cell in (name, *cells)]
        pairs = zip(blanks, (name, *cells), strict=True)
        padded.append([blank + cell if right else cell + blank for blank, cell in pairs])
    head, *rows = [f" {'   '.join(row)}".rstrip() for row in zip(*padded, strict=True)]
    click.echo("\n".join(["", head, f" {'─' * (sum(widths) + _frame(len(widths)) - 2)}", *rows, ""]))


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(map(_NUMBER.fullmatch, cells))


def _print_whole(columns: Mapping[str, Sequence[str]], widths: Sequence[int], width: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False, width=width)
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    _fill(table, columns, widths, last_is_free=True)
    console.print(table)


def _frame(columns: int) -> int:
    """Blanks of a whole table: three between two columns, and one at each end."""
    return 3 * (columns - 1) + 2


def _print_with_lines_below(columns: Mapping[str, Sequence[str]], widths: Sequence[int], width: int) -> None:
    from rich.console import Console
    from rich.table import Table

    names = list(columns)
    free = names[-1] if widths[-1] > MIN_LAST_WIDTH else None
    beside = max(1, sum(sum(widths[:count]) + count - 1 <= width for count in range(1, len(names) + (free is None))))
    below = [name for name in names[beside:] if name != free]
    console = Console(file=sys.stdout, highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    _fill(table, {name: columns[name] for name in names[:beside]}, widths)
    # Wider than the terminal only if the first column is: better a wrapped line than a cut name.
    lines = console.render_lines(table, console.options.update(width=max(width, sum(widths))))
    head, *body = ["".join(segment.text for segment in line).rstrip() for line in lines]
    click.echo(click.style(head, bold=console.is_terminal and not console.no_color))
    for row, line in enumerate(body):
        click.echo(line)
        values = ", ".join(f"{name} {columns[name][row]}".replace(" ", "\N{NO-BREAK SPACE}") for name in below)
        for text in (values, "" if free is None else columns[free][row]):
            for part in _wrapped(text, sys.stdout, INDENT, INDENT):
                click.echo(part.replace("\N{NO-BREAK SPACE}", " "))


def _fill(
    table: Table, columns: Mapping[str, Sequence[str]], widths: Sequence[int], *, last_is_free: bool = False
) -> None:
    from rich.text import Text

    for index, (name, cells) in enumerate(columns.items()):
        whole = not last_is_free or index < len(columns) - 1
        width = widths[index] if whole else None
        table.add_column(Text(name), justify="right" if _is_numeric(cells) else "left", no_wrap=whole, min_width=width)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, row))


def _wrapped(text: str, stream: TextIO, first: str, others: str, *, command: bool = False) -> list[str]:
    """The lines of a text, broken between words where the stream goes to a terminal."""
    width = terminal_width(stream)
    if not text:
        return []
    if width is None or len(first) + len(text) <= width:
        return [first + text]
    if command:
        return _continued(text, width, first, others)
    fitted = textwrap.TextWrapper(
        width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
    return fitted.wrap(text)


def _continued(command: str, width: int, first: str, others: str) -> list[str]:
    """A shell command over several lines; an option and its value stay together."""
    words: list[str] = []
    for word in map(shlex.quote, shlex.split(command)):
        if words and words[-1].startswith("-") and " " not in words[-1] and not word.startswith("-"):
            words[-1] += f" {word}"
        else:
            words.append(word)
    lines = [first + words[0]]
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) + len(CONTINUED) <= width:
            lines[-1] += f" {word}"
        else:
            lines[-1] += CONTINUED
            lines.append(others + word)
    return lines
