"""One worker of a trial: fetch the checkpoint to resume from, run the job, send its reports.

This is the one place where torch meets Ray.
"""

from __future__ import annotations

import gc
import math
import random
import shutil
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from gensweep.causes import file_problem, is_outside, memory_problem
from gensweep.files import scratch_folder
from gensweep.results import Evaluation, Phase
from gensweep.run.mailbox import JobError
from gensweep.run.notice import is_announced
from gensweep.run.out_of_memory import what_fits
from gensweep.run.settings import Assignment
from gensweep.run.system_metrics import SystemMeter
from gensweep.sweep.checkpoints import IncompleteCheckpointError, checkpoint_uri, fetch, store
from gensweep.sweep.events import Evaluated, Noted, Paced, Progressed, Report, Saved
from gensweep.training.reporter import StopTrial, WorkerContext

LONGEST_CAUSE = 500  # characters of an error's first line that are shown


@dataclass(frozen=True)
class Line:
    """The worker's end of a mailbox."""

    send: Callable[[Report, bool], bool]
    """Send a report and perhaps wait for the answer.  False if the trial stops."""
    move: Callable[[Phase | None], None]
    is_closing: Callable[[], bool]
    fail: Callable[[int, JobError], None]


def train_trial(
    job: Callable[..., None],
    assignment: Assignment,
    *,
    rank: int,
    world: int,
    threads: int,
    device: torch.device,
    storage: str,
    line: Line,
) -> None:
    """Train a trial to its end in one of its `world` workers.

    Raises StopTrial if the trial stops early, RuntimeError if the job fails, which `line` then knows in full.
    """
    torch.set_num_threads(threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    random.seed(0)  # a trial must not depend on what ran before in this process
    torch.manual_seed(0)
    reporter = TrialReporter(assignment.trial, storage, rank, line)
    try:
        with scratch_folder(assignment.trial) as scratch:
            if assignment.checkpoints:
                reporter.moved("fetching checkpoints")
            resume = _fetched(assignment.checkpoints, scratch / "resume", world, reporter)
            job(assignment.config, WorkerContext(rank, world, device, scratch, resume), reporter)
    except StopTrial:
        raise
    except Exception as error:
        memory = memory_problem(error)
        plain = file_problem(error) if memory is None else f"{memory}: {what_fits(assignment.config)}"
        cause = plain or f"{type(error).__name__}: {error}"
        line.fail(rank, JobError(cause.splitlines()[0][:LONGEST_CAUSE], traceback.format_exc(), is_outside(error)))
        raise RuntimeError(cause) from None  # which can be pickled, unlike some errors
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _fetched(uris: Sequence[str], scratch: Path, world: int, reporter: TrialReporter) -> tuple[Path, ...]:
    """The checkpoints of which all workers have a whole copy, in order; the others are named in a note."""
    copies, problems = dict[str, Path](), dict[str, str]()
    for uri in uris:
        try:
            copies[uri] = fetch(uri, scratch)
        except IncompleteCheckpointError as error:
            problems[uri] = str(error)
    everywhere: list[Any] = [problems]
    if world > 1:
        everywhere = [None] * world
        torch.distributed.all_gather_object(everywhere, problems)
    problems = {uri: text for each in everywhere for uri, text in each.items()}
    whole = tuple(copy for uri, copy in copies.items() if uri not in problems)
    if problems and reporter.rank == 0:
        start = whole[0].name if whole else "the beginning"
        reporter.note(f"{'; '.join(problems.values())}: the trial resumes from {start}")
    return whole


class TrialReporter:
    """The Reporter of a trial.  All ranks count as alive; only rank 0 sends events."""

    def __init__(self, trial: str, storage: str, rank: int, line: Line) -> None:
        self._trial, self._storage, self.rank, self._line = trial, storage, rank, line
        self._warned = False
        self._meter = SystemMeter()

    def progress(self, images: int, numbers: Mapping[str, float]) -> None:
        """Send the numbers."""
        self.moved("training")
        _require_finite(images, numbers)
        self._send(Progressed(self._trial, images, {**numbers, **self._meter.numbers()}))

    def paced(self, images: int, images_per_second: float) -> None:
        """Send the pace."""
        self._send(Paced(self._trial, images, images_per_second))

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """Move the folder to the storage, send the scores, and wait for the scheduler's verdict."""
        _require_finite(evaluation.images, evaluation.numbers())
        self._send(Evaluated(self._trial, evaluation, self._stored(evaluation.images, folder)), wait=True)
        self._end_if_closing()

    def checkpoint_wanted(self) -> bool:
        """True once when this machine is about to be taken away, and while the sweep stops."""
        leaves = not self._warned and is_announced()
        self._warned |= leaves
        return leaves or (self.rank == 0 and self._line.is_closing())

    def saved(self, images: int, folder: Path) -> None:
        """Move the folder to the storage and send that."""
        self._send(Saved(self._trial, images, self._stored(images, folder)))
        self._end_if_closing()

    def note(self, text: str) -> None:
        """Send a line, from any rank."""
        self._line.send(Noted(self._trial, text), False)

    def moved(self, phase: Phase | None = None) -> None:
        """Note progress."""
        self._line.move(phase)

    def _end_if_closing(self) -> None:
        """A sweep that stops needs no more of a trial that has a new checkpoint."""
        if self.rank == 0 and self._line.is_closing():
            raise StopTrial

    def _stored(self, images: int, folder: Path) -> str:
        self.moved("saving")
        uri = checkpoint_uri(self._storage, self._trial, images)
        if self.rank == 0:
            store(folder, uri)
            shutil.rmtree(folder)
        return uri

    def _send(self, event: Report, wait: bool = False) -> None:
        if self.rank == 0 and not self._line.send(event, wait):
            raise StopTrial


def _require_finite(images: int, numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value} at image {images}")


class Throttle:
    """Passes on moves of a worker at most once a second, and each new phase."""

    INTERVAL = 1.0

    def __init__(self, move: Callable[[Phase | None], object]) -> None:
        self._move, self._phase, self._at = move, "", 0.0

    def __call__(self, phase: Phase | None) -> None:
        """Note progress."""
        now = time.monotonic()
        if now - self._at >= self.INTERVAL or phase not in (None, self._phase):
            self._move(phase)
            self._phase, self._at = phase or self._phase, now
