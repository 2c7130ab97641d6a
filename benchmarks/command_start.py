"""How long commands take that only read, in a folder with 100 trials: the time that passes, and that of processors.

    .venv/bin/python benchmarks/command_start.py

Two made-up sweeps of 50 trials each are in a temporary folder.  Nothing was trained, but the code of real sweeps wrote
their logs and pictures.  Each command runs several times, in turns; the table has the medians.

Other programs that run lengthen the time that passes; of processors' time they change little.  Prints a table and
writes benchmarks/results/command_start-DATE-PROCESSOR.json.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from dated_results import write_result

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "search_spaces" / "quickstart.yaml"
#: Of each of the two sweeps.
TRIALS = 50
#: What is measured; "data show" and "doctor" do more than to read the folder.
COMMANDS = (
    "--help",
    "sample --help",
    "trials",
    "best",
    "best --compare",
    "plan ddpm dcgan --budget 120kimages",
    f"config validate {SPACE}",
    "config schema",
    "data show digits",
    "doctor",
)


def make_sweeps() -> None:
    """Write the sweeps into the current folder, as tests do."""
    sys.path += [str(ROOT / "tests" / name) for name in ("report", "sweep")]
    from made_up import diffusion, gan, write_sweep

    for name, family in {"ddpm": diffusion, "dcgan": gan}.items():
        write_sweep(Path.cwd(), name, family, TRIALS, rungs=4)


def measure(command: str) -> tuple[float, float]:
    """Seconds that a command takes, and of processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gensweep", *command.split()], capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 4):  # of plan, which reads all of them, but cannot plan with what is made up
        raise click.ClickException(f"gensweep {command} ended with {done.returncode}: {done.stderr}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
    rows = {}
    print(f"{'command':45}{'wall':>9}{'processors':>12}")
    for command, times in found.items():
        name = command.replace(str(SPACE), f"search_spaces/{SPACE.name}")
        wall, cpu = (statistics.median(each) for each in zip(*times, strict=True))
        rows[name] = {"wall_seconds": round(wall, 3), "processor_seconds": round(cpu, 3)}
        print(f"{name:45}{wall:7.2f} s{cpu:10.2f} s")
    write_result("command_start", trials=2 * TRIALS, rounds=rounds, commands=rows)


if __name__ == "__main__":
    main()
