"""`gensweep plan`: how to spend a larger budget, by laws of compute that are tested before they are believed."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gensweep.cli.sweep_options import root_option
from gensweep.report.completion import sweep_names
from gensweep.report.output import format_option, print_json, print_rows, print_warnings


@click.command()
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP...", shell_complete=sweep_names)
@click.option(
    "--budget",
    required=True,
    metavar="AMOUNT",
    help="What one training may spend: 2e13flops, 40s, 10min or 8h of device time, or 60kimages.",
)
@click.option(
    "--write",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.yaml",
    help="Write a sweep of the recommended family around the recommended width, ready for gensweep tune.",
)
@click.option(
    "--figure",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw what each family is expected to reach with a budget, as .svg or .png.",
)
@root_option
@format_option
def plan(
    sweeps: tuple[str, ...], budget: str, target: Path | None, figure: Path | None, root: Path, format: str
) -> None:
    """How to spend a larger budget: family, width, images, and the score to expect.

    A law is fitted to the finished sweeps: how scores fall with compute and width. With every answer comes its
    backtest: the last factor of 4 of compute is hidden, predicted and compared. Where that fails nothing is
    recommended, and the exit code is 5.

    \b
    Examples:
      gensweep plan ddpm-cifar10 dcgan-cifar10 --budget 4e15flops
      gensweep plan ddpm-cifar10 --budget 8h --write next.yaml --figure plan.svg
      gensweep plan ddpm-cifar10 --budget 4e15flops --format json
    """
    from gensweep.compute.amounts import parse_amount
    from gensweep.compute.spending import plan_spending
    from gensweep.errors import UntrustedError
    from gensweep.report.comparison import compare
    from gensweep.report.family_trainings import trainings_by_family
    from gensweep.report.next_sweep import check_target, write_next_sweep
    from gensweep.report.spending_figure import check_figure, write_frontier
    from gensweep.report.spending_report import (
        backtest_sentence,
        no_plan_json,
        plan_json,
        plan_rows,
        plan_sentences,
        plan_table,
        width_sentences,
    )
    from gensweep.tracking.runs import load_sweeps
    from gensweep.tracking.store_check import check_server
    from gensweep.tracking.sync import sync_all

    amount = parse_amount(budget)
    if figure is not None:
        check_figure(figure)
    if target is not None:
        check_target(target)
    check_server()
    print_warnings(sync_all(root))
    comparison = compare(load_sweeps(sweeps), asked=True)
    families = trainings_by_family(comparison, amount.unit)
    try:
        found = plan_spending(families, amount.value, free_size=amount.unit == "images")
    except UntrustedError as error:
        if format == "json":
            print_json(no_plan_json(str(error), amount, comparison))
        raise
    if figure is not None:
        write_frontier(found, amount, comparison.title, figure)
    if format == "json":
        print_json(plan_json(found, amount, comparison))
    elif found.trusted:
        print_rows(plan_table(found) if format == "table" else plan_rows(found), format)
    for sentence in (backtest_sentence(found), *width_sentences(found)):
        click.echo(sentence, err=True)
    print_warnings(found.remarks)
    if figure is not None:
        click.echo(f"Figure: {figure}", err=True)
    if not found.trusted:
        raise UntrustedError("\n".join(f"nothing is recommended: {problem}" for problem in found.problems))
    for sentence in plan_sentences(found, amount, comparison):
        click.echo(sentence, err=True)
    if target is not None:
        write_next_sweep(found, amount, comparison, target)
        click.echo(f"Next: gensweep tune {shlex.quote(str(target))}", err=True)
