"""`gensweep judge`: keep a candidate, discard it, or train more seeds."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from gensweep.cli.sweep_options import root_option, set_option
from gensweep.report.output import format_option, print_json, print_rows

#: Exit codes by decision.
CODES = {"keep": 0, "discard": 10, "undecided": 11}


def _share(context: click.Context, parameter: click.Parameter, text: str) -> float:
    """`1%` or 0.01."""
    with suppress(ValueError):
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        if 0 <= value < 1:
            return value
    raise click.BadParameter(f"{text!r} is no share; write for instance 1% or 0.01")


@click.command()
@click.argument("base", required=False)
@click.argument("candidate", required=False)
@set_option("Change a setting of the candidate; without CANDIDATE, it is BASE with these changes.")
@click.option("--init", is_flag=True, help="Fix BASE's objective, data, budget and seeds for a stream of candidates.")
@click.option("--against-current", is_flag=True, help="Judge one file or run against the current base of --name.")
@click.option("--name", help="Name of the sweep; by default judge- and the candidate's name.")
@click.option("--budget", metavar="AMOUNT", help="Most compute of all trainings, without scoring: 8e12flops, 5min.")
@click.option("--most-seeds", type=click.IntRange(2, 100), help="Most pairs.  [default: 5; with --init 10]")
@click.option("--min-gain", default="1%", show_default=True, callback=_share, help="Smallest gain that matters.")
@click.option("--error", "error_rate", default="5%", show_default=True, callback=_share, help="Chance to keep noise.")
@root_option
@format_option
def judge(base: str | None, candidate: str | None, init: bool, against_current: bool, format: str, **how: Any) -> int:
    """Is a candidate better than a base, or is it noise? Trains pairs with the same seeds until that is clear.

    BASE and CANDIDATE are YAML files or runs (SWEEP or SWEEP/TRIAL). Data, evaluation, objective, initial weights, seed
    and compute are BASE's; a candidate that states others is refused. A kept candidate of a stream is its next base.
    Exit code: 0 keep, 10 discard, 11 undecided, 2 bad input. The same command continues an interrupted judgement.

    \b
    Examples:
      gensweep judge base.yaml candidate.yaml
      gensweep judge base.yaml --set optimizer.learning_rate=2e-3
      gensweep judge quickstart/t0006 --set gan.beta1=0.0 --budget 8e12flops
      gensweep judge --init base.yaml --name night                     a stream of candidates
      gensweep judge --against-current candidate.yaml --name night
    """
    from gensweep.errors import ConfigError
    from gensweep.extras.judge.judging import judge as run_judge
    from gensweep.extras.judge.wording import judgement_json, judgement_rows, judgement_sentences

    if (init or against_current) and (init == against_current or candidate is not None or how["name"] is None):
        raise ConfigError("give one of --init and --against-current, with one configuration and --name NAME")
    if base is None and not (against_current and how["overrides"]):
        raise ConfigError("name a base and a candidate, for example: gensweep judge base.yaml candidate.yaml")
    pair = (None, base) if against_current else (base, candidate)
    judged = run_judge(*pair, init=init, **how)
    if judged.judgement is None:
        click.echo(f"Next: gensweep judge --against-current CANDIDATE --name {how['name']}", err=True)
        return judged.result.exit_code
    if format == "json":
        print_json(judgement_json(judged.judgement))
    else:
        print_rows(judgement_rows(judged.judgement), format)
    for sentence in judgement_sentences(judged.judgement):
        click.echo(sentence, err=True)
    if judged.result.state.status == "finished":
        return CODES[judged.decision]
    click.echo("Repeat the command to continue.", err=True)
    return judged.result.exit_code
