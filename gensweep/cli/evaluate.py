"""`gensweep evaluate`: scores of a finished run."""

from __future__ import annotations

from pathlib import Path

import click

from gensweep.cli.sweep_options import set_option
from gensweep.errors import ConfigError
from gensweep.report.output import format_option, option_bundle, print_rows
from gensweep.rescoring.sampling_axes import (
    axes_options,
    format_results,
    panel_result_rows,
    parse_axes,
    rescore,
    result_json,
    result_rows,
)


def _names(context: click.Context, option: click.Parameter, text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def reference_of(against: str | None) -> str | None:
    """The absolute name of a folder, with a slash; a split or a file of statistics unchanged."""
    if against is None or against in ("train", "test", "whole") or not Path(against).is_dir():
        return against
    return f"{Path(against).resolve()}/"


#: Images and references of a score, also for images of other programs.
scoring_options = option_bundle(
    click.option("--samples", type=click.IntRange(2), metavar="N", help="Images to score.  [default: as in training]"),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="0 repeats the noise of training's evaluations."
    ),
    click.option(
        "--metrics",
        callback=_names,
        metavar="NAME,...",
        help="Metrics, such as fd,kid,precision.  [default: as in training]",
    ),
    click.option(
        "--against",
        metavar="SPLIT|DIR|FILE.npz",
        help="Compare with train, test, whole, a folder of real pictures or statistics.  [default: as in training]",
    ),
    click.option(
        "--panel", is_flag=True, help="Score one set of images, by default 1,000, by measures of different kinds."
    ),
)


@click.command()
@click.argument("run")
@axes_options
@scoring_options
@set_option("Change one value of evaluation.")
@format_option
def evaluate(
    run: str,
    samples: int | None,
    seed: int,
    metrics: list[str],
    against: str | None,
    panel: bool,
    overrides: tuple[str, ...],
    format: str,
    **axes: str | None,
) -> None:
    """Score a finished run with other settings of sampling.

    RUN is SWEEP (its best score), SWEEP/TRIAL, or a checkpoint folder. Scores every combination of the given
    settings; the others stay as in training. The sweep's log keeps the results: a repeated combination is not
    computed again, and you can repeat an interrupted call.

    \b
    Examples:
      gensweep evaluate quickstart
      gensweep evaluate ddpm-cifar10 --sampler ddim,heun --steps 10,20,50
      gensweep evaluate ddpm-cifar10/t0003 --guidance 1,2,4 --ema 0.25,1,4 --format json
      gensweep evaluate ddpm-cifar10 --samples 5000 --seed 1 --against test --metrics fd,kid,precision,recall
      gensweep evaluate ddpm-cifar10/t0003 --panel
    """
    from gensweep.config import parse_overrides
    from gensweep.sweep.continuation import SWEEPS
    from gensweep.tracking.sync import sync_all

    parsed = parse_axes(axes)
    changes = parse_overrides(overrides)
    if other := [key for key in changes if key.partition(".")[0] != "evaluation"]:
        raise ConfigError([f"--set {key}: only settings of evaluation.* can change here" for key in other])
    given = {"evaluation.against": reference_of(against), "evaluation.metrics": metrics}
    changes |= {key: value for key, value in given.items() if value}
    if "evaluation.samples" in changes:
        raise ConfigError("--set evaluation.samples: use --samples N instead")
    if panel and (metrics or overrides):
        raise ConfigError("--panel: its measures and their settings are fixed; leave out --metrics and --set")
    scores = rescore(run, parsed, samples=samples, seed=seed, changed=changes, panel=panel)
    if panel:
        print_rows(panel_result_rows(scores, whole=format != "table"), format)
    else:
        print_rows(result_rows(scores) if format == "table" else result_json(scores), format)
        for line in format_results(scores):
            click.echo(line, err=True)
    sync_all(SWEEPS)
