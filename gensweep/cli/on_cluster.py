"""Commands that run on the head of a cluster instead: `--cluster`, and `tune --detach`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from gensweep.report.terminal import print_remark, terminal_width

C = TypeVar("C", bound=Callable[..., Any])


def cluster_option(command: C) -> C:
    """`--cluster`: run the same command on the head, print what it prints, and end with its exit code."""

    @click.option("--cluster", is_flag=True, help="Look on the cluster at RAY_API_SERVER_ADDRESS, not here.")
    @wraps(command)
    def chosen(*arguments: Any, cluster: bool, **keywords: Any) -> Any:
        return _run_there(click.get_current_context()) if cluster else command(*arguments, **keywords)

    return chosen  # type: ignore[return-value]


def start_on_cluster(file: Path | None, name: str) -> int:
    """Start the current command on the head, without --detach, with a copy of its FILE, and say how to look at it."""
    from gensweep.sweep.head_jobs import path_on_head, submit

    context = click.get_current_context()
    words = given_words(context, without={"detach"} if file is None else {"detach", "file"})
    words += [] if file is None else [path_on_head(file)]
    job = submit([str(context.info_name), *words], name=name, file=file)
    click.echo(job)
    print_remark("It runs on the cluster, whatever this machine does. Its trials:", f"gensweep trials {name} --cluster")
    print_remark("What it says:", f"ray job logs --follow {job}")
    print_remark("To stop it:", f"ray job stop {job}")
    return 0


def given_words(context: click.Context, *, without: Collection[str]) -> list[str]:
    """The arguments and options that a command line gives, as a shell would give them again."""
    given = [
        p for p in context.command.params if context.get_parameter_source(p.name or "") is ParameterSource.COMMANDLINE
    ]
    return [word for p in given if p.name not in without for word in _words(p, context.params[p.name or ""])]


def _words(parameter: click.Parameter, value: Any) -> Iterator[str]:
    several = value if isinstance(value, tuple) else (value,)
    for each in several:
        if isinstance(parameter, click.Option):
            yield max(parameter.opts, key=len)
        if not (isinstance(parameter, click.Option) and parameter.is_flag):
            yield str(each)


def _run_there(context: click.Context) -> int:
    from gensweep.sweep.head_jobs import run_on_head

    words = [str(context.info_name), *given_words(context, without={"cluster"})]
    answer = run_on_head(words, columns=terminal_width(sys.stdout))
    click.echo(answer.err, err=True, nl=False)
    click.echo(answer.out, nl=False)
    return answer.code
