"""Options that commands share: overrides, and the places of sweeps and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from gensweep.errors import ConfigError
from gensweep.sweep.continuation import SWEEPS

C = TypeVar("C", bound=Callable[..., Any])


root_option = click.option(
    "--sweeps",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=SWEEPS,
    show_default=True,
    help="Folder with the folders of all sweeps.",
)


storage_option = click.option(
    "--storage",
    metavar="URL",
    help="Place for checkpoints and a copy of the log, such as s3://bucket/sweeps.  [default: the sweep's folder]",
)


price_option = click.option(
    "--price",
    metavar="AMOUNT/h",
    help="Price of one device for an hour, such as 2.50/h or 2.50EUR/h, to show costs as money.  "
    "[default: resources.price of the file]",
)


def deadline_options(command: C) -> C:
    """`--for` and `--until`, passed to the command as its `deadline`, in seconds since 1970."""

    @wraps(command)
    def with_deadline(*words: Any, duration: str | None, until: str | None, **options: Any) -> Any:
        return command(*words, deadline=parse_deadline(duration, until), **options)

    at = click.option("--until", metavar="HH:MM", help="End at this time of day, as with --for.")
    within = click.option("--for", "duration", metavar="TIME", help="End within this time, such as 30min or 8h.")
    return cast(C, within(at(with_deadline)))


def parse_deadline(duration: str | None, until: str | None) -> float | None:
    """The end that these options ask for.  Raises ConfigError if they are no times."""
    from gensweep.verdict.amounts import parse_seconds

    if duration is not None and until is not None:
        raise click.UsageError("--for and --until exclude each other")
    if duration is not None:
        return time.time() + parse_seconds(duration, "--for")
    if until is None:
        return None
    try:
        moment = datetime.combine(date.today(), datetime.strptime(until, "%H:%M").time())
    except ValueError:
        raise ConfigError(f"--until: {until!r} is no time of day; give one such as 07:00") from None
    return (moment if moment > datetime.now() else moment + timedelta(days=1)).timestamp()


def set_option(help: str) -> Callable[[C], C]:
    """`--set`, passed to the command as `overrides`."""
    return click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help=help)


def override_options(command: C) -> C:
    """`--set` and `--scale`."""
    scale = click.option("--scale", metavar="NAME", help="Apply the overrides that the file lists under scales.NAME.")
    change = set_option("Change one value, for example --set diffusion.timesteps=200. May be given several times.")
    return scale(change(command))
