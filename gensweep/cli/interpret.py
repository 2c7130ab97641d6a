"""`gensweep interpret`: what the network of a run does with a label."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gensweep.errors import GensweepError
from gensweep.report.output import format_option, print_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gensweep.assembly import Interventions
    from gensweep.assembly.interpretation import Subject
    from gensweep.interpret.atlas import Atlas
    from gensweep.tracking.runs import Trial

__all__ = ["interpret"]

_ROWS = 5


@click.command()
@click.argument("run")
@click.option("--class", "class_name", metavar="NAME", help="Only this class.  [default: all]")
@click.option("--layer", metavar="REGEX", help="Only layers in whose name this is found, such as 'up' or 'middle.0'.")
@click.option("--levels", type=click.IntRange(1, 50), default=5, show_default=True, help="Noise levels (diffusion).")
@click.option("--samples", type=click.IntRange(4), default=32, show_default=True, help="Images for each label.")
@click.option(
    "--permutations",
    type=click.IntRange(19),
    default=999,
    show_default=True,
    help="Of the test against chance; the smallest p is 1 in one more.",
)
@click.option(
    "--units",
    type=click.IntRange(1),
    metavar="N",
    help="Switch off so many units of a class.  [default: one in 30 of those that draw samples]",
)
@click.option(
    "--draws",
    type=click.IntRange(0),
    default=32,
    show_default=True,
    help="Images of a class for every change of units; 0 changes none.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Everything depends on this seed alone.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("interpretation"),
    show_default=True,
    help="Folder for index.html, atlas.csv and pictures.",
)
@format_option
def interpret(
    run: str,
    class_name: str | None,
    layer: str | None,
    levels: int,
    samples: int,
    permutations: int,
    units: int | None,
    draws: int,
    seed: int,
    output: Path,
    format: str,
) -> None:
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
    from gensweep.assembly import interpretation
    from gensweep.cli.trying import subject_of
    from gensweep.report.interpretation import (
        atlas_csv,
        atlas_section,
        driven_section,
        trajectory_section,
        unit_rows,
        write_interpretation,
    )
    from gensweep.report.intervention import intervention_csv, intervention_section, verdict

    named = subject_of(run)
    subject = interpretation.subject_of(named.folder, class_name=class_name, layers=layer)
    names = subject.names
    with _Stages() as stages:
        stages.begin("which units react to a label")
        atlas = interpretation.make_atlas(subject, images=samples, levels=levels, permutations=permutations, seed=seed)
        sections = [atlas_section(atlas, subject.labels[: interpretation.MOST_LABELS], names)]
        tables = {"atlas.csv": atlas_csv(atlas, names)}
        changes = None
        if draws:
            stages.begin("what becomes of images without these units: the classifier")
            changes = _intervene(subject, atlas, stages, units=units, draws=draws, seed=seed)
        if changes is not None:
            sections.append(intervention_section(changes, names))
            tables["interventions.csv"] = intervention_csv(changes.found, names)
        stages.begin("the way from noise to image")
        trajectory = interpretation.trajectory(subject, seed=seed)
        if trajectory is not None:
            sections.append(trajectory_section(trajectory, names))
        stages.begin("images that these units ask for")
        if made := list(interpretation.driven(subject, atlas, seed=seed)):
            sections.append(driven_section(made, names))
    facts = {
        "units": f"{sum(atlas.widths.values()):,}",
        "layers": str(len(atlas.widths)),
        "classes": str(len(names)),
        "images a label": str(samples),
        "permutations": str(permutations),
        "weights": subject.model.weights,
    }
    command = shlex.join(["gensweep", *sys.argv[1:]])
    files = write_interpretation(output, named.name, facts, sections, tables, command)
    rows = unit_rows(atlas, subject.labels, names, _ROWS)
    print_rows(rows, format)
    if not rows:
        click.echo("No unit is raised by a label more than by chance.", err=True)
    if changes is not None:
        click.echo(verdict(changes.found), err=True)
    click.echo(f"Page: {output / 'index.html'}", err=True)
    if named.trial is not None:
        _file(named.trial, files)


def _intervene(
    subject: Subject, atlas: Atlas, stages: _Stages, *, units: int | None, draws: int, seed: int
) -> Interventions | None:
    """What switching units off did; None, with a word why, if that cannot be found out."""
    from gensweep.assembly import interpretation

    result = None
    try:
        for result in interpretation.interventions(subject, atlas, units=units, draws=draws, seed=seed):
            stages.begin(f"{subject.names[result.found[-1].label]} without its units: done")
    except GensweepError as error:
        click.echo(f"Note: no units are switched off, as images cannot be judged: {error}", err=True)
    return result


def _file(trial: Trial, files: Sequence[Path]) -> None:
    from gensweep.tracking.filing import file_interpretation

    try:
        file_interpretation(trial.run_id, files)
    except GensweepError as error:
        click.echo(f"Note: {error}", err=True)


class _Stages:
    """Progress on stderr: on a terminal a line that is alive, elsewhere a line for each stage."""

    def __enter__(self) -> _Stages:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._progress: Any = None
        if console.is_terminal:
            columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
            self._progress = Progress(*columns, console=console)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, words: str) -> None:
        """Say what is done now."""
        if self._progress is None:
            click.echo(f"{words} ...", err=True)
            return
        for task in self._progress.task_ids:
            self._progress.stop_task(task)
        self._progress.add_task(words, total=None)
