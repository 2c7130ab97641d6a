"""`gensweep plan`: how to spend a larger budget, by scaling laws that are checked first."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from gensweep.cli.sweep_options import price_option, root_option
from gensweep.report.output import format_option, print_json, print_rows, print_warnings

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP...")
@click.option("--budget", required=True, metavar="AMOUNT", help="The budget of one training: 2e13flops, 8h, 60kimages.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write the recommended sweep, for gensweep tune.")
@price_option
@root_option
@format_option
def plan(sweeps: tuple[str, ...], budget: str, output: Path | None, price: str | None, root: Path, format: str) -> None:
    """How to spend a larger budget: family, width, images, and the score to expect.

    A scaling law is fitted to the finished sweeps: score against compute and width. A backtest checks it: the last
    factor of 4 of compute is hidden, predicted and compared. If that fails, there is no recommendation, and the exit
    code is 5.

    \b
    Examples:
      gensweep plan ddpm-cifar10 dcgan-cifar10 --budget 4e15flops
      gensweep plan ddpm-cifar10 --budget 8h -o next.yaml
      gensweep plan ddpm-cifar10 --budget 4e15flops --price 2.50EUR/h
      gensweep plan ddpm-cifar10 --budget 4e15flops --format json
    """
    from gensweep.api.verdicts import known_price
    from gensweep.errors import UntrustedError
    from gensweep.extras.plan.next_sweep import check_target, write_next_sweep
    from gensweep.extras.plan.scored_trainings import trainings_by_family
    from gensweep.extras.plan.spending import plan_spending
    from gensweep.extras.plan.spending_report import backtest_sentence, plan_json, plan_rows, plan_sentences
    from gensweep.report.caveats import clones_left_out
    from gensweep.report.commands import refuse_unlike
    from gensweep.sweep.stored_sweeps import load_sweeps
    from gensweep.tracking.sync import sync_all
    from gensweep.verdict.amounts import parse_amount
    from gensweep.verdict.comparison import compare

    amount = parse_amount(budget)
    if output is not None:
        check_target(output)
    comparison = compare(load_sweeps(sweeps, root))
    refuse_unlike(comparison)
    paid = known_price(comparison, price)
    families = trainings_by_family(comparison, amount.unit)
    print_warnings(clones_left_out(comparison))
    try:
        found = plan_spending(families, amount.value, free_size=amount.unit == "images")
    except UntrustedError as error:
        if format == "json":
            print_json({"recommendation": None, "problems": [str(error)]})
        raise
    if format == "json":
        print_json(plan_json(found, amount, comparison, paid))
    elif found.trusted:
        print_rows(plan_rows(found, amount, comparison, paid), format)
    click.echo(backtest_sentence(found), err=True)
    print_warnings(found.remarks)
    if not found.trusted:
        raise UntrustedError("\n".join(f"no recommendation: {problem}" for problem in found.problems))
    for sentence in plan_sentences(found, amount, comparison, paid):
        click.echo(sentence, err=True)
    if output is not None:
        write_next_sweep(found, amount, comparison, output)
        click.echo(f"Next: gensweep tune {shlex.quote(str(output))}", err=True)
    sync_all(root)
