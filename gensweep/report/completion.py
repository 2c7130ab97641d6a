"""What a shell offers when somebody presses Tab: names of sweeps, runs, spaces, scales and samplers.

The shell waits, so nothing here imports torch, Ray or MLflow; what cannot be read is not offered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from gensweep.errors import GensweepError
from gensweep.sweep.continuation import SWEEPS
from gensweep.sweep.folder import SETTINGS_FILE, SweepFolder

#: Samplers are registered in these files, which import torch.
SAMPLER_FILES = Path(__file__).parents[1] / "diffusion" / "samplers"
REGISTERED = re.compile(r'^@SAMPLERS\.register\("(\w+)"\)', re.MULTILINE)

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


def _scales(context: click.Context, typed: str) -> Iterable[str]:
    from gensweep.config.shipped import space_file
    from gensweep.config.yaml import read_file

    # Click reads no arguments where an option still lacks its value, and leaves them here.
    file = context.params.get("file") or next(iter(context.args), None)
    scales = None if file is None else read_file(space_file(str(file)))[0].get("scales")
    return list(scales) if isinstance(scales, dict) else []


def _samplers(context: click.Context, typed: str) -> Iterable[str]:
    """Those of gensweep; with commas between them, the last one."""
    first, comma, _ = typed.rpartition(",")
    files = sorted(SAMPLER_FILES.glob("*.py"))
    return [f"{first}{comma}{kind}" for file in files for kind in REGISTERED.findall(file.read_text(encoding="utf-8"))]


def _spaces(context: click.Context, typed: str) -> Iterable[str]:
    from gensweep.config.shipped import shipped_spaces

    return shipped_spaces()


def _root(context: click.Context) -> Path:
    return Path(context.params.get("root") or SWEEPS)


sweep_names = _offering(_sweeps)
run_names = _offering(_runs, otherwise="dir")
scale_names = _offering(_scales)
shipped_names = _offering(_spaces)
sampler_names = _offering(_samplers)


def space_names(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Spaces that come with gensweep, with the question of each, and files."""
    from gensweep.config.shipped import shipped_spaces, title

    found = [(name, file) for name, file in shipped_spaces().items() if name.startswith(typed)]
    return [*(CompletionItem(name, help=title(file)) for name, file in found), CompletionItem(typed, type="file")]
