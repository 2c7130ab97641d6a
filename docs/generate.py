"""Write docs/cli.md, docs/reference.md and docs/schema/sweep.json anew from the program: `make docs`.

A test fails if they are stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import click
from settings_reference import settings_reference

from gensweep.cli.main import cli
from gensweep.config.json_schema import sweep_schema

DOCS = Path(__file__).parent


def walk(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Every command below `command`, itself first: its full name and its help at 100 columns, without --import."""
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    shown = copy(command)
    shown.params = [parameter for parameter in command.params if parameter.name != "imported"]
    yield context.command_path, shown.get_help(context)
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None:
                yield from walk(child, child_name, context)


def cli_reference() -> str:
    """The command reference as Markdown."""
    words = "Every command also takes `--import MODULE|FILE` (a plug-in)."
    parts = [f"# Commands\n\nMade by `make docs` from the program itself: do not edit. {words}\n"]
    for path, text in walk(cli, "gensweep"):
        parts.append(f"## {path}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def pages() -> dict[Path, str]:
    """All generated pages: path -> text."""
    schema = json.dumps(sweep_schema(), indent=1, sort_keys=True) + "\n"
    texts = {"cli.md": cli_reference(), "reference.md": settings_reference(), "schema/sweep.json": schema}
    return {DOCS / name: text for name, text in texts.items()}


def write() -> None:
    """Write every generated page."""
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
