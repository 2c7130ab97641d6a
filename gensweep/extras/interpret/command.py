"""`gensweep interpret`: how the network of a run uses labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gensweep.errors import GensweepError
from gensweep.report.output import format_option, print_rows

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(context_settings={"show_default": True})
@click.argument("run")
@click.option("--class", "class_name", metavar="NAME", help="Only this class.  [default: all]")
@click.option("--layer", metavar="REGEX", help="Only layers whose name matches, such as 'up' or 'middle.0'.")
@click.option("--levels", type=click.IntRange(1, 50), default=5, help="Noise levels (diffusion).")
@click.option("--samples", type=click.IntRange(4), default=32, help="Images per label.")
@click.option("--permutations", type=click.IntRange(19), default=999, help="Sign flips; p is at least 1/(flips + 1).")
@click.option("--seed", type=int, default=0, help="Seed of all random numbers.")
@click.option(
    "-o", "--output", type=FOLDER, default=Path("interpretation"), help="Folder for index.html, tables and pictures."
)
@format_option
def interpret(run: str, class_name: str | None, layer: str | None, output: Path, format: str, **settings: Any) -> None:
    """Find out which units of a class-conditional model react to a label.

    RUN is SWEEP (its best score), SWEEP/TRIAL, or a checkpoint folder. Prints the units that each class raises most,
    and shows them in index.html, which works offline.

    \b
    Examples:
      gensweep interpret cifar
      gensweep interpret cifar --class cat -o cat/
      gensweep interpret cifar/t0003 --layer 'middle|up.0' --levels 10
      gensweep interpret cifar --samples 64 --permutations 9999 --format csv
    """
    from gensweep.files import write_problem
    from gensweep.run.near_gpus import ReturnedPath, SentPath, run_near_gpus
    from gensweep.sweep.provenance import command_line
    from gensweep.sweep.stored_sweeps import named_trial
    from gensweep.tracking.checkpoints import checkpoint_folder

    if (problem := write_problem(output)) is not None:
        raise GensweepError(f"--output {output}: {problem}")
    trial = named_trial(run)
    folder = checkpoint_folder(trial or run)
    name, chosen = run if trial is None else trial.name, {"class_name": class_name, "layers": layer}
    work = look_into, SentPath(folder), chosen, settings, ReturnedPath(output), name, command_line()
    rows = run_near_gpus(*work)
    print_rows(rows, format)
    if not rows:
        click.echo("No unit is raised by a label more than by chance.", err=True)
    click.echo(f"Page: {output / 'index.html'}", err=True)


def look_into(
    folder: Path, chosen: dict[str, Any], settings: dict[str, Any], output: Path, name: str, command: str
) -> list[dict[str, Any]]:
    """Analyse the model in a checkpoint folder and write the page; returns the rows to print."""
    from gensweep.extras.interpret.analysis import analyse, load_labelled
    from gensweep.extras.interpret.page import unit_rows, write_page

    labelled = load_labelled(folder, **chosen)
    found = analyse(labelled, lambda stage: click.echo(f"{stage} ...", err=True), **settings)
    facts = {"images a label": settings["samples"], "permutations": settings["permutations"]}
    write_page(output, name, labelled, found, facts, command)
    return unit_rows(found.activation_map, labelled.labels, labelled.model.class_names)
