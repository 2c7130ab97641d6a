"""`gensweep train`: one configuration, as a sweep of one trial."""

from __future__ import annotations

from typing import Any

import click

from gensweep.cli.sweep_options import deadline_options, override_options, root_option, storage_option


@click.command()
@click.argument("file", required=False)
@click.option("--from-run", metavar="RUN", help="Repeat a trial: SWEEP (its best score) or SWEEP/TRIAL.")
@click.option(
    "--continue-from",
    metavar="RUN",
    help="Train a trial longer, from its best checkpoint: --set training.images=N is its length. A run as above, or a "
    "checkpoint's folder.",
)
@click.option(
    "--init-from",
    metavar="MODEL",
    help="Start with the weights of a run, a checkpoint's folder, or a folder of diffusers with a UNet2DModel.",
)
@click.option(
    "--name", help="Name of the run; by default the file's with -train, or that of the run with -again or -longer."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Data-parallel workers.")
@click.option(
    "--cpus-per-worker", type=click.FloatRange(0, min_open=True), default=1, show_default=True, help="CPU cores each."
)
@click.option(
    "--gpus-per-worker", type=click.FloatRange(0), metavar="N", help="By default 1 if there is a GPU, else 0."
)
@deadline_options
@override_options
@root_option
@storage_option
def train(file: str | None, **how: Any) -> int:
    """Train one configuration (a sweep of one trial).

    FILE has the keys under `base` of a search space. A file of a search space also works: its base is trained, with
    the sweep's length.

    \b
    Examples:
      gensweep train config.yaml --set training.images=200000
      gensweep train search_spaces/ddpm.yaml --scale cpu --workers 2
      gensweep train --from-run ddpm-cifar10 --name again
      gensweep train --continue-from ddpm-cifar10 --set training.images=2000000
      gensweep train config.yaml --for 2h                          or --until 07:00
      gensweep train config.yaml --init-from ddpm-cifar10
      gensweep tune --resume again                     resume after an interruption
    """
    from gensweep.api import sweeps

    return sweeps.train(file, **how).exit_code
