"""Make a table of real trials: draw configurations at random, train each with `gensweep tune`, keep its curve.

    .venv/bin/python benchmarks/make_table.py digits --trials 400
    nice -n 10 .venv/bin/python benchmarks/make_table.py horses --trials 80 --minutes 60

The table is made in parts, each a sweep of its own whose search seed is the part's number, and each is appended to
benchmarks/tables/NAME.jsonl once it has ended; a call goes on behind the last one.  A part that was interrupted is
resumed if its folder is still there, else drawn again.  The trials of every fifth part are trained with three seeds.
benchmarks/tables/README.md describes the rows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import torch
from measuring import machine

from gensweep.results import UNBIASED_PARTS
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.trial_state import TrialState

TABLES = Path(__file__).parent / "tables"
#: Every so many parts, one is trained with all seeds.
REPEATED_PARTS = 5
SEEDS = 3


def rows_of(part: int, seed: int, folder: SweepFolder) -> Iterator[dict[str, Any]]:
    """The trials of a part that has ended."""
    origin = machine(torch.device("cpu"))
    state = folder.state()
    for trial in state.searched:
        yield {
            "configuration": f"{part:03d}-{trial.number}",
            "seed": seed,
            "status": trial.status,
            "error": trial.error,
            "parameters": dict(trial.suggested),
            "overrides": dict(trial.params),
            "curve": [_point(trial, images) for images in sorted(trial.evaluations)],
            "cpu": origin["cpu"],
            "commit": origin["commit"],
        }


def _point(trial: TrialState, images: int) -> dict[str, float]:
    evaluation = trial.evaluations[images].evaluation
    score, cost = evaluation.scores[trial.metric], evaluation.cost.as_dict()
    parts = {part: getattr(score, part) for part in UNBIASED_PARTS}
    found = {"score": score.value} | {part: value for part, value in parts.items() if value is not None} | cost
    return {name: _rounded(value) for name, value in (found | {"images": images}).items()}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")


def heading(name: str, folder: SweepFolder) -> dict[str, Any]:
    """What all rows share: the sweep that they come from, and what a score is."""
    points = (each.evaluation for trial in folder.state().searched for each in trial.evaluations.values())
    score = next(iter(points)).scores[folder.state().metric]
    settings = {key: folder.settings[key] for key in ("objective", "budget", "base", "space")}
    return {"table": name, "identity": score.identity.as_dict(), "anchors": score.anchors.as_dict(), "sweep": settings}


def rows_made(file: Path) -> list[dict[str, Any]]:
    """The rows that the table holds."""
    return [json.loads(line) for line in file.read_text().splitlines()[1:]] if file.exists() else []


def parts_made(file: Path) -> set[tuple[int, int]]:
    """Parts and seeds that the table holds."""
    return {(int(row["configuration"].partition("-")[0]), row["seed"]) for row in rows_made(file)}


def run_part(name: str, part: int, seed: int, work: Path) -> SweepFolder:
    """Train the trials of a part, or what is left of them."""
    sweep = f"{name}-{part:03d}-{seed}"
    command = [sys.executable, "-m", "gensweep", "tune"]
    if (work / "sweeps" / sweep / "sweep.json").exists():
        command += ["--resume", sweep]
    else:
        command += [str(TABLES / f"{name}.yaml"), "--name", sweep]
        command += ["--set", f"search.seed={part}", "--set", f"seed={seed}"]
    code = subprocess.run(command, cwd=work).returncode
    folder = SweepFolder(work / "sweeps", sweep)
    if not folder.exists or folder.state().left:
        raise click.ClickException(f"{sweep} ended with {code} before all its trials had; the same command goes on")
    return folder


@click.command(context_settings={"show_default": True})
@click.argument("name", type=click.Choice(sorted(file.stem for file in TABLES.glob("*.yaml"))))
@click.option("--trials", default=400, help="So many configurations the table is to hold.")
@click.option("--minutes", type=float, help="Begin no further part after so long.", show_default=False)
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/tables"), help="Where it trains.")
def main(name: str, trials: int, minutes: float | None, work: Path) -> None:
    """Add trials to a table until it holds enough."""
    end = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    work.mkdir(parents=True, exist_ok=True)
    file, part = TABLES / f"{name}.jsonl", 0
    done = parts_made(file)
    while len({row["configuration"] for row in rows_made(file)}) < trials:
        for seed in range(SEEDS if part % REPEATED_PARTS == 0 else 1):
            if (part, seed) in done:
                continue
            if time.monotonic() > end:
                return
            folder = run_part(name, part, seed, work)
            with file.open("a") as table:
                if not done:
                    table.write(json.dumps(heading(name, folder)) + "\n")
                table.writelines(json.dumps(row) + "\n" for row in rows_of(part, seed, folder))
            done.add((part, seed))
            shutil.rmtree(folder.path)
        part += 1


if __name__ == "__main__":
    main()
