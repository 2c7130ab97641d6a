"""The one bridge between torch and Ray: the loop of a kept worker, run in every rank of a Ray Train group.

Rank 0 asks the mailbox for the next trial and tells the other ranks; all run the job; rank 0 reports.  After each
report all ranks learn the same answer, so all leave a stopped trial at the same place and the process group stays
usable.
"""

from __future__ import annotations

import gc
import math
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.cloudpickle
import ray.exceptions
import ray.train
import torch
import torch.distributed
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device

from gensweep.sweep.job import Job, JobError, Place
from gensweep.sweep.mailbox import Assignment
from gensweep.sweep.storage import fetch, is_url, join, persist
from gensweep.training.trial import StopTrial

__all__ = ["serve"]

PATIENCE = 60.0
"""Seconds of one long poll of the mailbox."""


def serve(config: dict[str, Any]) -> None:
    """Run trials until the group is closed.  Raises JobError, which ends the group, if a job raises."""
    mailbox, slot, job = config["mailbox"], config["slot"], ray.cloudpickle.loads(config["job"])
    torch.set_num_threads(max(1, int(config["threads"])))
    device = get_device() if config["gpu"] else torch.device("cpu")  # alone, get_device takes any GPU that it sees
    if device.type == "cuda":
        torch.cuda.set_device(device)
    generation = 0
    while True:
        generation = _agree(partial(_next_generation, mailbox, slot, generation))
        assignment = ray.get(mailbox.assignment.remote(slot, generation))
        if not _all(assignment is not None, device):
            continue  # replaced before it began
        try:
            _run(job, device, assignment, _Desk(mailbox, slot, generation, config["storage"], assignment.trial))
        except StopTrial:
            continue
        finally:
            _tidy(device)
        if _rank() == 0:
            ray.get(mailbox.finish.remote(slot, generation))


def _run(job: Job, device: torch.device, assignment: Assignment, desk: _Desk) -> None:
    _seed_everything(0)  # nothing of a trial may depend on what ran before in this process
    scratch = Path(tempfile.mkdtemp(prefix=f"gensweep-{assignment.trial}-"))
    try:
        resume = tuple(fetch(c, scratch / f"resume{i}") for i, c in enumerate(assignment.resume.checkpoints))
        place = Place(_rank(), _world(), device, scratch, resume)
        job(assignment.config, place, desk)
    except (StopTrial, ray.exceptions.RayError):
        raise  # the latter: some process of the sweep is lost, which is not the job's fault
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise JobError(f"{cause}\n\n{traceback.format_exc()}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Desk:
    """The Reporter of one trial."""

    def __init__(self, mailbox: Any, slot: str, generation: int, storage: str, trial: str) -> None:
        self._mailbox = mailbox
        self._slot = slot
        self._generation = generation
        self._checkpoints = join(storage, "checkpoints", trial)

    def progress(self, metrics: Mapping[str, float]) -> None:
        """Send them, without waiting."""
        self._report(dict(metrics), None)

    def checkpoint(self, metrics: Mapping[str, Any], folder: Path) -> None:
        """Store the folder, then send, and wait for what the scheduler says to these scores."""
        place = join(self._checkpoints, f"{int(metrics['images']):012d}")
        if _rank() == 0:
            if not is_url(self._checkpoints):
                Path(self._checkpoints).mkdir(parents=True, exist_ok=True)
            persist(folder, place)
        self._report(dict(metrics), place)

    def _report(self, metrics: dict[str, Any], checkpoint: str | None) -> None:
        bad = [k for k, v in metrics.items() if isinstance(v, float) and not math.isfinite(v)]
        if bad:
            raise ValueError(f"{bad[0]} is {metrics[bad[0]]} at image {metrics['images']}")
        wait = checkpoint is not None
        go_on = _agree(
            lambda: ray.get(self._mailbox.report.remote(self._slot, self._generation, metrics, checkpoint, wait))
        )
        if not go_on:
            raise StopTrial


def _next_generation(mailbox: Any, slot: str, after: int) -> int:
    while True:
        generation: int = ray.get(mailbox.next_generation.remote(slot, after, PATIENCE))
        if generation:
            return generation


def _agree(ask: Callable[[], Any]) -> Any:
    """Rank 0's answer, on every rank."""
    answer = ask() if _rank() == 0 else None
    return answer if _world() == 1 else broadcast_from_rank_zero(answer)


def _all(here: bool, device: torch.device) -> bool:
    """Whether it is so on all ranks."""
    if _world() == 1:
        return here
    votes = torch.tensor(int(here), device=device)
    torch.distributed.all_reduce(votes, op=torch.distributed.ReduceOp.MIN)
    return bool(votes)


def _rank() -> int:
    return int(ray.train.get_context().get_world_rank())


def _world() -> int:
    return int(ray.train.get_context().get_world_size())


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    torch.manual_seed(seed)


def _tidy(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
