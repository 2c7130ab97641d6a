"""One worker of a trial: fetch the checkpoint to resume from, run the job, send its reports.

This is the only module that uses both torch and Ray.
"""

from __future__ import annotations

import gc
import math
import random
import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from gensweep.causes import file_problem, is_outside, memory_problem
from gensweep.files import scratch_folder
from gensweep.results import Evaluation, Phase
from gensweep.run.cluster import notice_file
from gensweep.run.messages import Assignment, Done, Mailbox, TrialSettings
from gensweep.run.out_of_memory import what_fits
from gensweep.sweep.checkpoints import IncompleteCheckpointError, checkpoint_name, checkpoint_place, fetch, store
from gensweep.sweep.events import Evaluated, Noted, Paced, Progressed, Report, Saved, Started
from gensweep.sweep.storage import worker_problem
from gensweep.training.reporter import StopTrial, WorkerContext

LONGEST_CAUSE = 500  # characters shown of an error's first line
MOVE_INTERVAL = 1.0  # seconds between two progress signals in the same phase


def train_trial(
    settings: TrialSettings, assignment: Assignment, mailbox: Mailbox, *, rank: int, world: int, device: torch.device
) -> None:
    """Train a trial to its end in one of its `world` workers.

    Raises StopTrial if the trial stops early; RuntimeError if the job fails, with details in `mailbox`.
    """
    if (problem := worker_problem(settings.storage, own=settings.own_storage)) is not None:
        mailbox.send(Done(problem, ends_sweep=True))
        raise RuntimeError(problem)
    reporter = TrialReporter(assignment.trial, settings.storage, rank, mailbox)
    try:
        job = settings.job.open()
        _freeze_imports()
        if rank == 0:
            mailbox.send(Started(assignment.trial))
        torch.set_num_threads(max(1, int(settings.resources["CPU"])))
        if device.type == "cuda":
            torch.cuda.set_device(device)
        random.seed(0)  # a trial must not depend on earlier trials of this process
        torch.manual_seed(0)
        with scratch_folder(assignment.trial) as scratch:
            if assignment.checkpoints:
                reporter.moved("fetching checkpoints")
            resume = reporter.fetched(assignment.checkpoints, scratch / "resume", world)
            job(assignment.config, WorkerContext(rank, world, device, scratch, resume), reporter)
    except StopTrial:
        raise
    except Exception as error:
        memory = memory_problem(error)
        plain = file_problem(error) if memory is None else f"{memory}: {what_fits(assignment.config)}"
        cause = plain or f"{type(error).__name__}: {error}"
        first = cause.splitlines()[0][:LONGEST_CAUSE]
        mailbox.fail(rank, Done(first, traceback.format_exc(), lost=is_outside(error)))
        raise RuntimeError(cause) from None  # picklable, unlike some errors
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


@cache
def _freeze_imports() -> None:
    """Exempt the imported modules from garbage collection, which would cost 0.1 s after each trial."""
    gc.collect()
    gc.freeze()


class TrialReporter:
    """The Reporter of a trial.  All ranks report progress; only rank 0 sends events."""

    def __init__(self, trial: str, storage: str, rank: int, mailbox: Mailbox) -> None:
        self._trial, self._storage, self.rank, self._mailbox = trial, storage, rank, mailbox
        self._warned = False
        self._phase: Phase | None = None
        self._moved_at = -math.inf

    def progress(self, images: int, numbers: Mapping[str, float]) -> None:
        """Send metrics."""
        self.moved("training")
        _require_finite(images, numbers)
        self._send(Progressed(self._trial, images, numbers))

    def paced(self, images: int, images_per_second: float) -> None:
        """Send the pace."""
        self._send(Paced(self._trial, images, images_per_second))

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """Move the folder to the storage, send the scores, and wait for the scheduler's decision."""
        _require_finite(evaluation.images, evaluation.numbers())
        self._send(Evaluated(self._trial, evaluation, self._stored(evaluation.images, folder)), wait=True)
        self._end_if_closing()

    def checkpoint_wanted(self) -> bool:
        """True once if this machine is about to be preempted, and while the sweep stops."""
        leaves = not self._warned and notice_file().exists()
        self._warned |= leaves
        return leaves or (self.rank == 0 and self._mailbox.is_closing())

    def saved(self, images: int, folder: Path) -> None:
        """Move the folder to the storage and report it."""
        self._send(Saved(self._trial, images, self._stored(images, folder)))
        self._end_if_closing()

    def note(self, text: str) -> None:
        """Send a message, from any rank."""
        self._mailbox.send(Noted(self._trial, text))

    def moved(self, phase: Phase | None = None) -> None:
        """Signal progress: each new phase, and otherwise once a second."""
        now = time.monotonic()
        if now - self._moved_at >= MOVE_INTERVAL or phase not in (None, self._phase):
            self._mailbox.move(phase)
            self._phase, self._moved_at = phase or self._phase, now

    def fetched(self, checkpoints: Sequence[str], scratch: Path, world: int) -> tuple[Path, ...]:
        """The checkpoints that are complete on all workers, in order; a note names the others."""
        copies, problems = dict[str, Path](), dict[str, str]()
        for name in checkpoints:
            try:
                copies[name] = fetch(checkpoint_place(self._storage, name), scratch / name)
            except IncompleteCheckpointError as error:
                problems[name] = str(error)
        everywhere: list[Any] = [problems]
        if world > 1:
            everywhere = [None] * world
            torch.distributed.all_gather_object(everywhere, problems)
        problems = {name: text for each in everywhere for name, text in each.items()}
        whole = tuple(copy for name, copy in copies.items() if name not in problems)
        if problems and self.rank == 0:
            start = whole[0].name if whole else "the beginning"
            self.note(f"{'; '.join(problems.values())}: the trial resumes from {start}")
        return whole

    def _end_if_closing(self) -> None:
        """While the sweep stops, a trial ends after a new checkpoint."""
        if self.rank == 0 and self._mailbox.is_closing():
            raise StopTrial

    def _stored(self, images: int, folder: Path) -> str:
        self.moved("saving")
        name = checkpoint_name(self._trial, images)
        if self.rank == 0:
            store(folder, checkpoint_place(self._storage, name))
            shutil.rmtree(folder)
        return name

    def _send(self, event: Report, wait: bool = False) -> None:
        if self.rank == 0 and not self._mailbox.send(event, wait):
            raise StopTrial


def _require_finite(images: int, numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value} at image {images}")
