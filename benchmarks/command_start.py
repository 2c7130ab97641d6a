"""How long commands take that only read, in a folder with 100 trials: the time that passes, and that of processors.

    .venv/bin/python benchmarks/command_start.py

First two sweeps of 50 trials are run in a temporary folder, with the space of search_spaces/quickstart.yaml, but a job
that trains nothing: logs, checkpoints, pictures and MLflow's runs are made by the same code as those of real sweeps.
Then each command is run several times, in turns, and the medians are told.  As long as nothing is written to MLflow's
database, commands need not import MLflow; "mlflow written" is the same command right after something was.

Other programs that run lengthen the time that passes; of processors' time they change little.  Prints a table and
writes benchmarks/results/command_start-DATE.json.
"""

from __future__ import annotations

import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from measuring import RESULTS, machine

SPACE = Path(__file__).parents[1] / "search_spaces" / "quickstart.yaml"
SWEEPS = ("first", "second")
TRIALS = 50
#: What is measured; "data show" and "doctor" do more than to read the folder.
COMMANDS = (
    "--help",
    "sample --help",
    "trials",
    "best",
    "best --compare",
    "plan first second --budget 3e12flops",
    f"config validate {SPACE}",
    "config schema",
    "data show digits",
    "doctor --quick",
    "doctor",
)
#: Those that show runs, which are measured after MLflow's database was written, too.
OF_RUNS = ("trials", "best", "best --compare")


def job(config: dict[str, Any], context: Any, reporter: Any) -> None:
    """Reports three evaluations whose scores fall, each with a checkpoint that holds pictures."""
    import random

    from PIL import Image

    from gensweep.results import Cost, Evaluation, Identity, Score

    length, rng = config["training"]["images"], random.Random(json.dumps(config))
    best = rng.uniform(20, 60) / config["network"]["width"] ** 0.2
    for share in (0.2, 0.6, 1.0):
        images = max(1, round(share * length))
        numbers = {"loss": 1 / images, "images_per_second": 1000.0}
        reporter.progress(max(1, images // 2), numbers)
        folder = context.folder / "checkpoint"
        folder.mkdir(exist_ok=True)
        (folder / "checkpoint.json").write_text("{}")
        for name in ("samples", "real"):
            pixels = bytes(rng.randrange(256) for _ in range(128 * 128))
            Image.frombytes("L", (128, 128), pixels).save(folder / f"{name}.png")
        score = Score(best / share**0.3, "min", Identity("fd", "none", 300, "none", "none"), best, 1.0)
        cost = Cost(images=images, flops=share * 1.5e12, train_seconds=images / 1000, params=10**6)
        reporter.evaluated(Evaluation(images, {"fd": score}, cost, {"diversity": 0.7}), folder)


def make_sweeps() -> None:
    """Run the sweeps in the current folder."""
    from gensweep.config import load_sweep
    from gensweep.sweep.folder import SweepFolder
    from gensweep.sweep.planning import plan_sweep
    from gensweep.sweep.run import run_plan
    from gensweep.tracking.store import remember_runs
    from gensweep.tracking.store_check import check_server
    from gensweep.tracking.view import MlflowView, with_provenance

    check_server(writes=True)
    for number, name in enumerate(SWEEPS):
        changes = [f"name={name}", f"search.trials={TRIALS}", f"search.seed={number}", "resources.concurrent=1"]
        sweep = load_sweep(SPACE, overrides=[*changes, "search.scheduler.kind=fifo"])
        folder = SweepFolder(Path("sweeps"), name)
        plan = with_provenance(replace(plan_sweep(sweep), job=job), folder, sweep.as_dict())
        with closing(MlflowView(folder)) as view:
            result = run_plan(plan, [view])
        ends = [trial.status for trial in result.state.trials.values()]
        assert ends == ["finished"] * TRIALS, ends
    remember_runs()


def measure(command: str) -> tuple[float, float]:
    """Seconds that a command takes, and of processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gensweep", *command.split()], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 5):  # of plan: no answer that could be trusted
        raise click.ClickException(f"gensweep {command} ended with {done.returncode}: {done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def touch_store() -> None:
    """Write the tag of a run that it has anyhow, as another program might."""
    from gensweep.tracking.runs import find_sweep
    from gensweep.tracking.store import client

    client().set_tag(find_sweep().run_id, "mlflow.note.content", str(time.time()))


@click.command(context_settings={"show_default": True})
@click.option("--rounds", default=5, help="How often each command is run.")
def main(rounds: int) -> None:
    """Measure how long commands take."""
    found: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GENSWEEP_CACHE": f"{folder}/cache"}
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            os.environ.pop(name, None)
        os.chdir(folder)
        make_sweeps()
        for _ in range(rounds):
            for command in COMMANDS:
                found.setdefault(command, []).append(measure(command))
            for command in OF_RUNS:
                touch_store()
                found.setdefault(f"{command}, mlflow written", []).append(measure(command))
    rows = {}
    print(f"{'command':45}{'wall':>9}{'processors':>12}")
    for command, times in found.items():
        name = command.replace(str(SPACE), f"search_spaces/{SPACE.name}")
        wall, cpu = (statistics.median(each) for each in zip(*times, strict=True))
        rows[name] = {"wall_seconds": round(wall, 3), "processor_seconds": round(cpu, 3)}
        print(f"{name:45}{wall:7.2f} s{cpu:10.2f} s")
    date = datetime.datetime.now(tz=datetime.UTC)
    result = {
        "benchmark": "command_start",
        "date": date.isoformat(timespec="seconds"),
        "machine": machine(torch.device("cpu")),
        "trials": len(SWEEPS) * TRIALS,
        "rounds": rounds,
        "commands": rows,
    }
    path = RESULTS / f"command_start-{date:%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"wrote benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
