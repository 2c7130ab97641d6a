"""What a trial costs the driver as a search grows, in Optuna, Tune, MLflow and the log, and commands on the result.

    .venv/bin/python benchmarks/search_scale.py --trials 10000
    .venv/bin/python benchmarks/search_scale.py --trials 1000 --scheduler fifo

Everything is real but the training: a worker reports four scores and a checkpoint of one small file, as fast as it can.
The space is that of search_spaces/quickstart.yaml, with TPE and ASHA; two trials run at a time, in workers that stay.
Milliseconds of each part are processor time of its thread, a trial, over the last tenth of the first 100, 1,000, ...
trials; asking includes the sampler, the configuration and its record in the log.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from measuring import RESULTS, machine

from gensweep.api import sweeps
from gensweep.build.training_length import TrainingLengths
from gensweep.results import Cost, Evaluation, Identity, Score
from gensweep.sweep.events import Ended, Event
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.log import EventLog
from gensweep.sweep.planning import plan_sweep
from gensweep.sweep.run import run_plan
from gensweep.sweep.session import Session
from gensweep.sweep.state import SweepState
from gensweep.sweep.study import SearchStudy
from gensweep.tracking.replay import Replay
from gensweep.tracking.study_file import INTERVAL, StudyFile
from gensweep.tracking.view import LogView, with_provenance

RUNGS = (1000, 2000, 4000, 8000)
#: What is timed, by the name of its row.
PARTS = {
    "ask": (Session, "_suggest"),
    "tell": (SearchStudy, "tell"),
    "log": (EventLog, "append"),
    "MLflow": (Replay, "catch_up"),
    "optuna.db": (StudyFile, "catch_up"),
}


def reporting_job(config: dict[str, Any], context: Any, reporter: Any) -> None:
    """Report at each rung, a score that depends on the learning rate and falls."""
    values = config["optimizer"]["learning_rate"] if "optimizer" in config else 1e-3
    identity = Identity("fd", "efficientnet_lite0/1280", 300, "digits", "floor(127.5 x + 128)")
    for images in RUNGS:
        folder = context.folder / str(images)
        folder.mkdir()
        (folder / "checkpoint.json").write_text("{}")
        value = 100 * abs(values - 2e-3) * 1e3 + hash(str(config)) % 1000 / 10 + 1e5 / images
        score = Score(value, "min", identity)
        reporter.progress(images - 500, {"loss/train": 1.0})
        reporter.evaluated(Evaluation(images, {"fd": score}, Cost(images=images, train_seconds=images / 1e3)), folder)


class Seconds:
    """Observer that notes when trials end, and what each part and this thread have used until then."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()
        self.at_ends: list[dict[str, float]] = []
        self._begin = time.perf_counter()

    def __call__(self, event: Event, state: SweepState) -> None:
        """Take in what happened."""
        if isinstance(event, Ended):
            whole = {"wall": time.perf_counter() - self._begin, "driver": time.thread_time()}
            self.at_ends.append(whole | dict(self.used) | {"memory": resident_bytes()})

    def timed(self, owner: type, name: str, part: str) -> None:
        """From now on count the processor time of a method's thread."""
        method: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(method)
        def measured(*arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return method(*arguments, **named)
            finally:
                self.used[part] += time.thread_time() - start

        setattr(owner, name, measured)

    def rows(self) -> Iterator[dict[str, float]]:
        """Milliseconds a trial near 100, 1,000, ... trials."""
        count = 100
        while count <= len(self.at_ends):
            before, after, trials = self.at_ends[count - count // 10 - 1], self.at_ends[count - 1], count // 10
            row = {part: 1e3 * (after[part] - before.get(part, 0)) / trials for part in after if part != "memory"}
            inside = sum(row.get(part, 0) for part in ("ask", "tell", "log"))
            yield {"trials": count, **row, "Tune and Ray": row["driver"] - inside, "memory": after["memory"] / 2**20}
            count *= 10


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def command_seconds(words: list[str], folder: Path) -> float:
    """How long a command takes in a folder."""
    start = time.perf_counter()
    ended = subprocess.run([sys.executable, "-m", "gensweep", *words], cwd=folder, capture_output=True, text=True)
    if ended.returncode:
        raise click.ClickException(f"gensweep {' '.join(words)}: {ended.stderr[-500:]}")
    return time.perf_counter() - start


@click.command()
@click.option("--trials", type=click.IntRange(100), default=10000, show_default=True)
@click.option("--sampler", default="tpe", show_default=True)
@click.option("--scheduler", default="asha", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work; by default in a new temporary folder.")
def main(trials: int, sampler: str, scheduler: str, folder: Path | None) -> None:
    """Measure, print, write."""
    folder = Path(tempfile.mkdtemp(prefix="search-scale-")) if folder is None else folder
    os.chdir(folder)
    space = sweeps.read_space(
        "quickstart",
        trials=trials,
        overrides={
            "budget": None,
            "base.training.images": RUNGS[-1],
            "search.sampler": {"kind": sampler},
            "search.scheduler": {"kind": scheduler},
        },
    )
    swept = SweepFolder(folder / "sweeps", space.name)
    plan = replace(plan_sweep(space, TrainingLengths()), job=reporting_job, trials_per_group=trials)
    plan = with_provenance(plan, swept, space.as_dict())
    seconds = Seconds()
    for part, (owner, name) in PARTS.items():
        seconds.timed(owner, name, part)
    views = [
        LogView("MLflow", partial(Replay, swept)),
        LogView("optuna.db", partial(StudyFile, swept, plan.sample), INTERVAL),
    ]
    with ExitStack() as opened:
        for view in views:
            opened.enter_context(closing(view))
        result = run_plan(plan, [*views, seconds], root=folder / "sweeps")
        ended = time.perf_counter()
        behind = {view.name: view.close(timeout=3600) for view in views}
        late = time.perf_counter() - ended
    assert result.state.status == "finished", result.state.error
    table = list(seconds.rows())
    for row in table:
        print("  ".join(f"{name} {value:,.1f}" for name, value in row.items()))
    print(f"views were {late:.0f} s behind at the end; events they still miss: {behind}")
    commands = {
        "trials": ["trials", space.name],
        "best --compare": ["best", "--compare"],
        "best --compare, again": ["best", "--compare"],
        "tune --resume": ["tune", "--resume", space.name],
    }
    taken = {name: command_seconds(words, folder) for name, words in commands.items()}
    for name, value in taken.items():
        print(f"gensweep {name}: {value:.1f} s")
    date = time.strftime("%Y-%m-%d")
    file = RESULTS / f"search_scale-{date}-{sampler}-{scheduler}-{trials}.json"
    written = {"machine": machine(torch.device("cpu")), "rows": table, "late_seconds": late, "command_seconds": taken}
    file.write_text(json.dumps(written, indent=2) + "\n")
    print(f"wrote benchmarks/results/{file.name}")


if __name__ == "__main__":
    main()
