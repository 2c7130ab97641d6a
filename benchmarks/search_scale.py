"""What a trial costs the driver as a search grows, in Optuna, Tune, MLflow and the log, and commands on the result.

    .venv/bin/python benchmarks/search_scale.py
    .venv/bin/python benchmarks/search_scale.py --known 9900      # the last 150 alone by Ray: minutes, not an hour
    .venv/bin/python benchmarks/search_scale.py --trials 1050 --scheduler fifo

Everything is real but the training: a worker reports four scores and a checkpoint of one small file, as fast as it can.
The space is that of search_spaces/quickstart.yaml, with TPE and ASHA; two trials run at a time, in workers that stay.
Milliseconds of each part are processor time of its thread, a trial, over the 100 trials around the 100th, 1,000th, ...
one; asking includes the sampler, the configuration and its record in the log.  The winner is not scored on fresh seeds.
"""

from __future__ import annotations

import functools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from dated_results import write_result

from gensweep.api import sweeps
from gensweep.api.mlflow_verdicts import file_reports
from gensweep.build.costs import TrialCosts
from gensweep.results import Cost, Evaluation, Identity, Score
from gensweep.run.driver import run_plan
from gensweep.run.planning import plan_sweep
from gensweep.search.schedulers import Scheduler
from gensweep.search.session import Observer, Session
from gensweep.search.sweep_plan import SweepPlan
from gensweep.sweep.events import Ended, Evaluated, Event, SessionEnded, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.log import EventLog
from gensweep.sweep.provenance import record_provenance
from gensweep.sweep.state import SweepState
from gensweep.sweep.storage import held_storage
from gensweep.sweep.stored_sweeps import read_sweep
from gensweep.tracking.study_file import INTERVAL, StudyFile
from gensweep.tracking.sweep_copy import SweepCopy
from gensweep.tracking.view import LogView

#: Trials over which the mean is taken.
WINDOW = 100
RUNGS = (1000, 2000, 4000, 8000)
#: What is timed, by the name of its row.
PARTS = {
    "ask": (Session, "_suggest"),
    "decide": (Scheduler, "startable"),
    "log": (EventLog, "append"),
    "MLflow": (SweepCopy, "catch_up"),
    "optuna.db": (StudyFile, "catch_up"),
}


def reporting_job(config: dict[str, Any], context: Any, reporter: Any) -> None:
    """Report at each rung, a score that depends on the learning rate and falls."""
    for evaluation in evaluations(config):
        folder = context.folder / str(evaluation.images)
        folder.mkdir()
        (folder / "checkpoint.json").write_text("{}")
        reporter.progress(evaluation.images - 500, {"loss/train": 1.0})
        reporter.evaluated(evaluation, folder)


def evaluations(config: Mapping[str, Any]) -> Iterator[Evaluation]:
    """One at each rung."""
    identity = Identity("fd", "efficientnet_lite0/1280", 300, "digits", "floor(127.5 x + 128)")
    rate = config["optimizer"]["learning_rate"] if "optimizer" in config else 1e-3
    for images in RUNGS:
        value = 100 * abs(rate - 2e-3) * 1e3 + hash(str(config)) % 1000 / 10 + 1e5 / images
        score = Score(value, "min", identity)
        yield Evaluation(images, {"fd": score}, Cost(images=images, train_seconds=images / 1e3))


def note_trials(plan: SweepPlan, swept: SweepFolder) -> None:
    """Run a sweep to its end in this process: what the session and the log do is real, all else is left out."""
    swept.path.mkdir(parents=True, exist_ok=True)  # the code may have been changed: then its git.diff is there
    with held_storage(swept, None, plan.settings) as held:
        session = Session(plan, swept, (), concurrent=1, storage=held)
        while (trial := session.next_trial()) is not None:
            session.reported(Started(trial.trial))
            stops = False
            for evaluation in [each for each in evaluations(trial.config) if each.images > trial.images]:
                folder = swept.path / "checkpoints" / trial.trial / f"{evaluation.images:012d}"
                folder.mkdir(parents=True)
                (folder / "checkpoint.json").write_text("{}")
                if stops := session.reported(Evaluated(trial.trial, evaluation, f"{trial.trial}/{folder.name}")):
                    break
            session.ended(trial.trial, {"finished": not stops})
        session.note(SessionEnded("finished"))


class Seconds:
    """Observer that notes when trials end, and what each part and this thread have used until then."""

    def __init__(self, known: int) -> None:
        self.known = known
        """Trials that ended before."""
        self.used: dict[str, float] = defaultdict(float)
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
        for count in (100, 1000, 10000):
            begin = count - WINDOW // 2 - self.known
            if begin <= 0 or begin + WINDOW > len(self.at_ends):
                continue
            before, after = self.at_ends[begin - 1], self.at_ends[begin + WINDOW - 1]
            row = {part: 1e3 * (after[part] - before.get(part, 0)) / WINDOW for part in after if part != "memory"}
            inside = sum(row.get(part, 0) for part in ("ask", "tell", "log"))
            yield {"trials": count, **row, "Tune and Ray": row["driver"] - inside, "memory": after["memory"] / 2**20}


class FirstStart:
    """Observer that notes when a trial first runs."""

    time: float = float("inf")

    def __call__(self, event: Event, state: SweepState) -> None:
        """Take in what happened."""
        if isinstance(event, Started):
            self.time = min(self.time, time.perf_counter())


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def followed(plan: SweepPlan, swept: SweepFolder, observers: Sequence[Observer], extend: int) -> float:
    """Run a sweep, or so many further trials of it, with its views; returns how many seconds these were behind."""
    views = [
        LogView("MLflow", partial(SweepCopy, swept)),
        LogView("optuna.db", partial(StudyFile, swept, plan.sample), INTERVAL),
    ]
    with ExitStack() as opened:
        for view in views:
            opened.enter_context(closing(view))
        result = run_plan(plan, [*views, *observers], root=swept.path.parent, extend=extend)
        ended = time.perf_counter()
        for view in views:
            view.close(timeout=3600)
    assert result.state.status == "finished", result.state.error
    return time.perf_counter() - ended


def command_seconds(words: list[str], folder: Path) -> float:
    """How long a command takes in a folder."""
    start = time.perf_counter()
    ended = subprocess.run([sys.executable, "-m", "gensweep", *words], cwd=folder, capture_output=True, text=True)
    if ended.returncode:
        raise click.ClickException(f"gensweep {' '.join(words)}: {ended.stderr[-500:]}")
    return time.perf_counter() - start


@click.command()
@click.option("--trials", type=click.IntRange(150), default=10050, show_default=True)
@click.option("--known", default=0, help="So many are noted by this process, without Ray and workers.")
@click.option("--sampler", default="tpe_by_branch", show_default=True)
@click.option("--scheduler", default="asha", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Where to work; by default in a new temporary folder.")
def main(trials: int, known: int, sampler: str, scheduler: str, folder: Path | None) -> None:
    """Measure, print, write."""
    if trials - known <= WINDOW:
        raise click.ClickException(f"--known {known}: leave more than {WINDOW} of the {trials} trials")
    folder = Path(tempfile.mkdtemp(prefix="search-scale-")) if folder is None else folder
    os.chdir(folder)
    space = sweeps.read_space(
        "quickstart",
        trials=known or trials,
        overrides={
            "budget": None,
            "rescore": False,
            "base.training.images": RUNGS[-1],
            "search.sampler": {"kind": sampler},
            "search.scheduler": {"kind": scheduler},
        },
    )
    swept = SweepFolder(folder / "sweeps", space.name)
    plan = replace(plan_sweep(space, TrialCosts()), job=reporting_job)
    plan = replace(plan, tags=record_provenance(swept, space.as_dict()))
    if known:
        note_trials(plan, swept)
        for view in (SweepCopy(swept), StudyFile(swept, plan.sample)):
            while view.catch_up():
                pass
    seconds = Seconds(known)
    for part, (owner, name) in PARTS.items():
        seconds.timed(owner, name, part)
    late = followed(plan, swept, [seconds], extend=trials - known if known else 0)
    table = list(seconds.rows())
    for row in table:
        print("  ".join(f"{name} {value:,.1f}" for name, value in row.items()))
    going_on, began = FirstStart(), time.perf_counter()
    followed(plan, swept, [going_on], extend=1)
    taken: dict[str, float] = {"views behind at the end": late, "going on, until a trial runs": going_on.time - began}
    began = time.perf_counter()
    file_reports([read_sweep(swept)])  # as `gensweep tune` does at its end
    taken["the report filed, all runs read"] = time.perf_counter() - began
    commands = {
        "trials": ["trials", space.name],
        "best --compare": ["best", "--compare"],
        "tune --resume": ["tune", "--resume", space.name],
    }
    taken |= {f"gensweep {name}": command_seconds(words, folder) for name, words in commands.items()}
    for name, value in taken.items():
        print(f"{name}: {value:.1f} s")
    write_result("search_scale", f"{sampler}-{scheduler}-{trials}", rows=table, seconds=taken)


if __name__ == "__main__":
    main()
