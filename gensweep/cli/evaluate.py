"""`gensweep evaluate`: scores of a finished run, with other settings of sampling than in its training."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.output import format_option, print_rows
from gensweep.cli.trying import axes_options, parse_axes, subject_of, try_for_a_person

__all__ = ["evaluate"]


@click.command()
@click.argument("run")
@axes_options
@click.option("--samples", type=click.IntRange(2), metavar="N", help="Images to judge by.  [default: as in training]")
@click.option("--seed", type=int, default=0, show_default=True, help="0 is the noise of the evaluations in training.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw scores against network evaluations, to a .png, .svg or .pdf file.",
)
@format_option
def evaluate(
    run: str,
    sampler: str | None,
    steps: str | None,
    guidance: str | None,
    ema: str | None,
    samples: int | None,
    seed: int,
    picture: Path | None,
    format: str,
) -> None:
    """Score a finished run again, with every combination of the settings of sampling that are given.

    RUN is a run id, a beginning of one, SWEEP (its best trial), SWEEP/TRIAL, or a checkpoint folder. What is not given
    stays as in training. Results are kept beside the checkpoint and under the run in MLflow: what has been tried comes
    at once, and an interrupted call goes on where it stopped.

    \b
    Examples:
      gensweep evaluate quickstart
      gensweep evaluate ddpm-cifar10 --sampler ddim,heun --steps 10,20,50 --picture steps.png
      gensweep evaluate ddpm-cifar10/t0003 --guidance 1,2,4 --ema 0.25,1,4 --format json
      gensweep evaluate ddpm-cifar10 --samples 5000 --seed 1
    """
    from gensweep.report.outcomes import check_picture, outcome_json, outcome_rows, words, write_picture

    axes = parse_axes({"sampler": sampler, "steps": steps, "guidance": guidance, "ema": ema})
    if picture is not None:
        check_picture(picture)
    tried = try_for_a_person([subject_of(run)], axes, samples=samples, seed=seed)
    print_rows(outcome_rows(tried) if format == "table" else outcome_json(tried), format)
    for line in words(tried):
        click.echo(line, err=True)
    if picture is not None:
        write_picture(tried, picture)
        click.echo(f"Picture: {picture}", err=True)
