"""What a shell offers after Tab: names of sweeps, runs and spaces.  Folders that cannot be read offer nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gensweep.errors import GensweepError
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder

Names = Callable[[click.Context, str], Iterable[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _offering(names: Names, otherwise: str | None = None) -> Complete:
    """The names that begin with what is typed; if there are none, files or folders ("file", "dir")."""

    def complete(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
        try:
            found = [CompletionItem(name) for name in names(context, typed) if name.startswith(typed)]
        except (GensweepError, OSError, ValueError):
            found = []
        return found or ([] if otherwise is None else [CompletionItem(typed, type=otherwise)])

    return complete


def _sweeps(context: click.Context, typed: str) -> Iterable[str]:
    return sorted(file.parent.name for file in _root(context).glob(f"*/{SETTINGS_FILE}"))


def _runs(context: click.Context, typed: str) -> Iterable[str]:
    """Sweeps, and the trials of the one that is typed already."""
    sweep, slash, _ = typed.partition("/")
    if not slash:
        return _sweeps(context, typed)
    return [f"{sweep}/{trial}" for trial in SweepFolder(_root(context), sweep).state().trials]


def _root(context: click.Context) -> Path:
    return Path(context.params.get("root") or SWEEPS)


sweep_names = _offering(_sweeps)
run_names = _offering(_runs, otherwise="dir")


def space_names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Spaces that come with gensweep, with the question of each, and files."""
    return [*shipped_names(context, parameter, typed), CompletionItem(typed, type="file")]


def shipped_names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Spaces that come with gensweep, with the question of each."""
    from gensweep.shipped import shipped_spaces, title

    found = shipped_spaces().items()
    return [CompletionItem(name, help=title(file)) for name, file in found if name.startswith(typed)]
