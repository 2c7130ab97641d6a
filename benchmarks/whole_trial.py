"""Where the time of a whole sweep goes: from the command to its last line, by the sweep's own log.

    .venv/bin/python benchmarks/whole_trial.py
    .venv/bin/python benchmarks/whole_trial.py search_spaces/dcgan.yaml --scale cpu --set search.trials=2

Runs `gensweep tune` in a temporary folder.  Until the first trial trains, times are those of the command: until Ray
starts (imports, checks, the choice of a precision), until a worker has begun with the first trial, and until that has
trained for a fiftieth.  Of each trial the log knows its training, drawing of samples, and scoring (features and
distances); what is left of its time, from its start to its end, is called the rest: data, first batches, checkpoints,
reports, and waiting.  The share of training is that of all cores from the first trial's start to the end of the last.

Take it on a quiet machine.  Prints a table and writes benchmarks/results/whole_trial-DATE-PROCESSOR-SWEEP.json, and
beside it the profile of the sweep as a picture: a bar for each trial, with its parts in the order above, not in that of
time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from dated_results import write_result
from matplotlib.figure import Figure

from gensweep.machine import usable_cores
from gensweep.sweep.events import Ended, Evaluated, Progressed, Started
from gensweep.sweep.folder import SweepFolder

QUICKSTART = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
#: In the environment of all processes of the sweep, with its folder.
MARK = "GENSWEEP_TIMED"
#: Seconds between two looks whether Ray has started.
LOOK_INTERVAL = 0.05
#: What is done in a trial, with its colour.
PARTS = {"training": "#2a6f97", "sampling": "#e9a23b", "scoring": "#b5485d", "rest": "#9aa5ab"}
#: What comes before and after the trials is grey, dark and light by turns.
GREYS = ("#5c6469", "#c3cacd")
#: Inches of a picture, and of a bar in it.
WIDTH, MARGIN, BAR = 9.0, 1.4, 0.3


@dataclass
class TrialTimes:
    """Seconds of a trial, by what was done; it began so many seconds after the command."""

    trial: str
    family: str
    began: float
    wall: float = 0.0
    training: float = 0.0
    sampling: float = 0.0
    scoring: float = 0.0

    @property
    def rest(self) -> float:
        """Everything else."""
        return self.wall - self.training - self.sampling - self.scoring


def run(command: list[str], folder: Path) -> tuple[float, float, float]:
    """When a command began, when it had started Ray, and when it ended, in seconds since 1970."""
    began, ray_started = time.time(), 0.0
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, env=os.environ | {MARK: str(folder)})
    while process.poll() is None:
        if not ray_started and _has_ray(f"{MARK}={folder}".encode()):
            ray_started = time.time()
        time.sleep(LOOK_INTERVAL)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} ended with {process.returncode}")
    return began, ray_started, time.time()


def _has_ray(mark: bytes) -> bool:
    """Whether Ray's first process runs with this in its environment."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            if b"gcs_server" in file.read_bytes() and mark in file.with_name("environ").read_bytes():
                return True
    return False


def trial_times(folder: SweepFolder, began: float) -> list[TrialTimes]:
    """Those of all trials of a sweep whose command began then, in the order in which they started."""
    times: dict[str, TrialTimes] = {}
    trials = folder.state().trials
    for event, at, _ in folder.log.read():
        match event:
            case Started(trial):
                kind = trials[trial].config["family"]["kind"]
                times.setdefault(trial, TrialTimes(trial, kind, at / 1000 - began))
            case Evaluated(trial, evaluation):
                cost, known = evaluation.cost, times[trial]
                known.training = cost.train_seconds or 0.0
                known.sampling += cost.sample_seconds or 0.0
                known.scoring += cost.evaluate_seconds or 0.0
            case Ended(trial):
                times[trial].wall = at / 1000 - began - times[trial].began
    return list(times.values())


@click.command(context_settings={"show_default": True})
@click.argument("space", type=click.Path(exists=True, path_type=Path), default=QUICKSTART)
@click.option("--scale", help="A scale of the space.", show_default=False)
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="As in gensweep tune.")
def main(space: Path, scale: str | None, changes: tuple[str, ...]) -> None:
    """Run a sweep and tell where its time went."""
    command = [
        sys.executable,
        "-m",
        "gensweep",
        "tune",
        str(space.resolve()),
        "--name",
        "whole",
        "--set",
        "rescore=false",
    ]
    command += ["--scale", scale] if scale else []
    command += [word for change in changes for word in ("--set", change)]
    with tempfile.TemporaryDirectory() as temporary:
        began, ray_started, ended = run(command, Path(temporary))
        folder = SweepFolder(Path(temporary) / "sweeps", "whole")
        entries = list(folder.log.read())
        trials = trial_times(folder, began)
    first = next(entry.time for entry in entries if isinstance(entry.event, Started)) / 1000
    training = next(entry.time for entry in entries if isinstance(entry.event, Progressed | Evaluated)) / 1000
    last = max(entry.time for entry in entries if isinstance(entry.event, Ended)) / 1000
    share = sum(trial.training for trial in trials) / ((last - first) * usable_cores())
    start = {
        "until_ray_starts": ray_started - began,
        "until_a_worker_has_begun": first - ray_started,
        "until_the_first_progress": training - first,
        "after_the_last_trial": ended - last,
    }
    for name, seconds in start.items():
        print(f"{name.replace('_', ' '):28}{seconds:8.1f} s")
    since_ray = training - ray_started
    print(f"{'the first trial trains after':28}{training - began:8.1f} s, {since_ray:.1f} s after Ray's first process")
    print(f"\n{'trial':8}{'family':12}{'wall':>9}{'training':>10}{'sampling':>10}{'scoring':>9}{'rest':>8}")
    for each in trials:
        shares = [each.training, each.sampling, each.scoring, each.rest]
        print(
            f"{each.trial:8}{each.family:12}{each.wall:7.1f} s" + "".join(f"{part / each.wall:9.0%}" for part in shares)
        )
    median = statistics.median(trial.rest for trial in trials)
    print(f"\ntraining: {share:.0%} of {usable_cores()} cores' time; rest of a trial, median: {median:.2f} s")
    picture = write("-".join(filter(None, (space.stem, scale))), command[3:], start, trials, share)
    draw(picture, start, trials, ended - began)


def write(name: str, command: list[str], start: dict[str, float], trials: list[TrialTimes], share: float) -> Path:
    """Write results/whole_trial-DATE-NAME.json; returns where its picture goes."""
    return write_result(
        "whole_trial",
        name,
        command=" ".join(command).replace(str(QUICKSTART.parents[1]) + os.sep, ""),
        start_seconds={key: round(value, 2) for key, value in start.items()},
        training_share_of_cores=round(share, 4),
        trials=[asdict(trial) | {"rest": trial.rest} for trial in trials],
    ).with_suffix(".png")


def draw(file: Path, start: dict[str, float], trials: list[TrialTimes], whole: float) -> None:
    """Draw the profile of a sweep that took so many seconds."""
    height = MARGIN + BAR * (len(trials) + 1)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    *before, (_, after) = start.items()
    at = 0.0
    for index, (name, seconds) in enumerate(before):
        axes.barh(0, seconds, left=at, color=GREYS[index % 2], label=name.replace("_", " "))
        at += seconds
    axes.barh(0, after, left=whole - after, color=GREYS[1], hatch="//", label="after the last trial")
    for row, trial in enumerate(trials, start=1):
        at = trial.began
        for part, colour in PARTS.items():
            seconds = getattr(trial, part)
            axes.barh(row, seconds, left=at, color=colour, label=part if row == 1 else None)
            at += seconds
    axes.set_yticks(range(len(trials) + 1), ["command", *(f"{each.trial} {each.family}" for each in trials)])
    axes.invert_yaxis()
    axes.set_xlabel("seconds after the command")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
