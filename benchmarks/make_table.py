"""Make a table of real trials: draw configurations at random, train each with `gensweep tune`, keep its whole curve.

    .venv/bin/python benchmarks/make_table.py digits --trials 400
    nice -n 10 .venv/bin/python benchmarks/make_table.py horses --trials 80 --minutes 60

The table is made in parts, each a sweep of its own whose search seed is the part's number, and each is appended to
benchmarks/tables/NAME.jsonl once it has ended; a call goes on behind the last one, on any machine.  The configurations
of every fifth part are trained with three seeds.  Ctrl-C or SIGTERM stops it within a part, which the same command then
resumes if its folder is still there, else makes again.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from dated_results import machine
from replays.table import NAMES, sweep_of
from tables.load import TABLES, load_table

from gensweep.files import write_text
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.trial_state import TrialState

#: Every so many parts, one is trained with so many seeds.
REPEATED_PARTS, SEEDS = 5, 3
#: What grows along a curve, and what is the same all along.
GROWING = ("flops", "device_seconds", "scoring_flops", "scoring_device_seconds")
CONSTANT = ("sample_flops", "params", "activation_bytes")
#: Significant digits of what was measured.
DIGITS = 5


def row_of(part: int, trial: TrialState) -> dict[str, Any]:
    """A training as the table holds it."""
    points = [trial.evaluations[images].evaluation for images in sorted(trial.evaluations)]
    scores = [point.scores[trial.metric] for point in points]
    growing = {name: [getattr(point.cost, name) for point in points] for name in GROWING}
    parts = {name: [getattr(score, name) for score in scores] for name in ("corrected", "error")}
    curve = growing | {"score": [score.value for score in scores]} | parts
    origin = machine()
    return {
        "configuration": f"{part:03d}-{trial.number:02d}",
        "seed": trial.config["seed"],
        "status": trial.status,
        "error": trial.error and trial.error.partition("; log: ")[0],
        "parameters": dict(trial.suggested),
        "cost": {name: getattr(points[0].cost, name) for name in CONSTANT} if points else {},
        "curve": {"images": [point.images for point in points]}
        | {name: [value and float(f"{value:.{DIGITS}g}") for value in values] for name, values in curve.items()},
        "cpu": origin["cpu"],
        "commit": origin["commit"],
    }


def population(name: str) -> dict[str, Any]:
    """What the configurations of a table are drawn from."""
    sweep = sweep_of(name).as_dict()
    found: dict[str, Any] = json.loads(
        json.dumps({key: sweep[key] for key in ("objective", "budget", "base", "space")})
    )
    return found


def heading(name: str, trials: Sequence[TrialState]) -> dict[str, Any]:
    """What all rows share: where they come from, and what a score is."""
    score = next(trial.score for trial in trials if trial.score is not None)
    anchors = {"floor": score.floor, "ceiling": score.ceiling}
    values = {key: anchor and {"score": anchor.value, "corrected": anchor.corrected} for key, anchor in anchors.items()}
    return {"table": name, "identity": score.identity.as_dict(), "anchors": values, "sweep": population(name)}


def make_part(name: str, part: int, work: Path) -> SweepFolder:
    """Train the trials of a part, or what is left of them, and again those that failed for a cause outside of them."""
    folder = SweepFolder(work / "sweeps", f"{name}-{part:03d}")
    command = [sys.executable, "-m", "gensweep", "tune"]
    if folder.exists:
        command += ["--retry" if lost_trials(folder) else "--resume", folder.name]
    else:
        command += [str(TABLES / f"{name}.yaml"), "--name", folder.name, "--set", f"search.seed={part}"]
        if (part + 1) % REPEATED_PARTS == 0:
            trials = sweep_of(name).search.most_trials
            command += ["--set", f"search.repeats={{top: {trials}, seeds: {SEEDS - 1}}}"]
    with subprocess.Popen(command, cwd=work) as tune:
        signal.signal(signal.SIGTERM, lambda *_: tune.terminate())
        code = tune.wait()
    if not folder.exists or folder.state().left or lost_trials(folder):
        raise click.ClickException(f"{folder.name} ended with {code} before all its trials had; the same call goes on")
    return folder


def lost_trials(folder: SweepFolder) -> list[TrialState]:
    """The trials whose failure says nothing of their configuration: lost processes, a full disk."""
    return [trial for trial in folder.state().failed if trial.infrastructure_error]


@click.command(context_settings={"show_default": True})
@click.argument("name", type=click.Choice(NAMES))
@click.option("--trials", default=400, help="So many configurations the table is to hold.")
@click.option("--minutes", type=float, help="Begin no further part after so long.", show_default=False)
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/tables"), help="Where it trains.")
def main(name: str, trials: int, minutes: float | None, work: Path) -> None:
    """Add trials to a table until it holds enough."""
    end = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    file = TABLES / f"{name}.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    while len((table := load_table(name)).by_configuration) < trials and time.monotonic() < end:
        if table.heading and table.heading["sweep"] != population(name):
            raise click.ClickException(f"{file} holds trials of another population; move it away")
        part = len({training.configuration.partition("-")[0] for training in table.trainings})
        folder = make_part(name, part, work)
        trained = list(folder.state().trials.values())
        head = [] if table.heading else [heading(name, trained)]
        lines = "".join(json.dumps(row) + "\n" for row in [*head, *(row_of(part, trial) for trial in trained)])
        write_text(file, (file.read_text() if table.heading else "") + lines)
        shutil.rmtree(folder.path)


if __name__ == "__main__":
    main()
