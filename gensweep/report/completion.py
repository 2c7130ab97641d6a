"""Shell completion: names of sweeps, runs and search spaces."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gensweep.errors import GensweepError
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder


def sweep_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sweeps whose names begin with the incomplete word."""
    files = sorted(_root(context).glob(f"*/{SETTINGS_FILE}"))
    return [CompletionItem(file.parent.name) for file in files if file.parent.name.startswith(incomplete)]


def run_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Sweeps, and the trials of the incomplete sweep; folders if there are none."""
    sweep, slash, trial = incomplete.partition("/")
    found = [] if slash else sweep_names(context, parameter, incomplete)
    with suppress(GensweepError, OSError, ValueError):  # an unreadable folder completes nothing
        trials = SweepFolder(_root(context), sweep).state().trials if slash else ()
        found += [CompletionItem(f"{sweep}/{name}") for name in trials if name.startswith(trial)]
    return found or [CompletionItem(incomplete, type="dir")]


def space_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped search spaces with their titles, and files."""
    return [*shipped_names(context, parameter, incomplete), CompletionItem(incomplete, type="file")]


def shipped_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped search spaces with their titles."""
    from gensweep.shipped import shipped_spaces, title

    found = shipped_spaces().items()
    return [CompletionItem(name, help=title(file)) for name, file in found if name.startswith(incomplete)]


def _root(context: click.Context) -> Path:
    return Path(context.params.get("root") or SWEEPS)
