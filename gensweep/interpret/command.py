"""`gensweep interpret`: what the network of a run does with a label."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gensweep.errors import GensweepError
from gensweep.report.completion import run_names
from gensweep.report.output import format_option, print_rows


@click.command(context_settings={"show_default": True})
@click.argument("run", shell_complete=run_names)
@click.option("--class", "class_name", metavar="NAME", help="Only this class.  [default: all]")
@click.option("--layer", metavar="REGEX", help="Only layers in whose name this is found, such as 'up' or 'middle.0'.")
@click.option("--levels", type=click.IntRange(1, 50), default=5, help="Noise levels (diffusion).")
@click.option("--samples", type=click.IntRange(4), default=32, help="Images for each label.")
@click.option(
    "--permutations", type=click.IntRange(19), default=999, help="Sign flips of the test; p is at least 1/(flips + 1)."
)
@click.option(
    "--units",
    type=click.IntRange(1),
    metavar="N",
    help="Switch off this many units of a class.  [default: one in 30 of those that draw samples]",
)
@click.option(
    "--draws", type=click.IntRange(0), default=32, help="Images of a class for every change of units; 0 changes none."
)
@click.option("--seed", type=int, default=0, help="Everything depends on this seed alone.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("interpretation"),
    help="Folder for index.html, activation_map.csv and pictures.",
)
@format_option
def interpret(run: str, class_name: str | None, layer: str | None, output: Path, format: str, **settings: Any) -> None:
    """Look into a class-conditional model: which units react to a label.

    RUN is a run id, a beginning of one, SWEEP (its best trial), SWEEP/TRIAL, or a checkpoint folder. The units that
    each class raises most are printed. Then they are switched off, to see whether images of the class suffer more than
    without random units of the same layers; that takes the images of the training. index.html, which needs no
    network, shows all of it, and is filed under the run in MLflow.

    \b
    Examples:
      gensweep interpret cifar
      gensweep interpret cifar --class cat -o cat/
      gensweep interpret cifar/t0003 --layer 'middle|up.0' --levels 10
      gensweep interpret cifar --units 50 --draws 128 --seed 1
      gensweep interpret cifar --draws 0 --samples 64 --permutations 9999 --format csv
    """
    from gensweep.files import write_problem
    from gensweep.sweep.cluster_task import ReturnedPath, SentPath, run_near_gpus
    from gensweep.tracking.runs import checkpoint_folder, find_trial, names_folder
    from gensweep.tracking.store import client, explaining_errors

    if (problem := write_problem(output)) is not None:
        raise GensweepError(f"--output {output}: {problem}")
    trial = None if names_folder(run) else find_trial(run)
    folder = checkpoint_folder(trial or Path(run))
    name, command = run if trial is None else trial.name, shlex.join(["gensweep", *sys.argv[1:]])
    chosen = {"class_name": class_name, "layers": layer}
    rows, words, files = run_near_gpus(
        look_into, SentPath(folder), chosen, settings, ReturnedPath(output), name, command
    )
    print_rows(rows, format)
    for line in words:
        click.echo(line, err=True)
    click.echo(f"Page: {output / 'index.html'}", err=True)
    if trial is not None:
        try:
            with explaining_errors(f"MLflow did not take the page (CAUSE); it is in {output}"):
                for file in files:
                    client().log_artifact(trial.run_id, str(output / file), "interpretation")
        except GensweepError as error:
            click.echo(f"Note: {error}", err=True)


def look_into(
    folder: Path, chosen: dict[str, Any], settings: dict[str, Any], output: Path, name: str, command: str
) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """Analyse the model in a checkpoint folder and write the page.

    Returns the rows to print, remarks, and the files in `output`.
    """
    from gensweep.interpret.analysis import AnalysisSettings, analyse, load_labelled
    from gensweep.interpret.page import write_page
    from gensweep.interpret.tables import conclusion, unit_rows

    labelled = load_labelled(folder, **chosen)
    with _stages() as begin:
        found = analyse(labelled, AnalysisSettings(**settings), begin)
        begin("the page")
        facts = {"images a label": settings["samples"], "permutations": settings["permutations"]}
        files = write_page(output, name, labelled, found, facts, command)
    rows, words = unit_rows(found.activation_map, labelled.labels, labelled.names), []
    if not rows:
        words.append("No unit is raised by a label more than by chance.")
    if found.failure is not None:
        words.append(f"Note: no units are switched off, as images cannot be classified: {found.failure}")
    if found.interventions:
        words.append(conclusion(found.interventions))
    return rows, words, [str(file.relative_to(output)) for file in files]


@contextmanager
def _stages() -> Iterator[Callable[[str], None]]:
    """Progress on stderr: what it yields takes the name of each stage, a live line on a terminal, else a plain one."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: click.echo(f"{stage} ...", err=True)
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:

        def begin(stage: str) -> None:
            for task in progress.task_ids:
                progress.stop_task(task)
            progress.add_task(stage, total=None)

        yield begin
