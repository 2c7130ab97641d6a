"""The one bridge between torch and Ray: the loop of a kept worker, run in every rank of a Ray Train group.

Rank 0 asks the queue for the next trial and tells the other ranks; all run the job; rank 0 reports.  After each
report all ranks learn the same answer, so all leave a stopped trial at the same place and the process group stays
usable.
"""

from __future__ import annotations

import datetime
import gc
import math
import os
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
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from gensweep.results import Evaluation
from gensweep.sweep.checkpoints import checkpoint_uri, fetch, store
from gensweep.sweep.events import Evaluated, Paced, Progressed
from gensweep.sweep.trial_queue import Assignment, Report
from gensweep.sweep.worker_group import RunnerSettings
from gensweep.training.trial import StopTrial, WorkerContext

POLL_SECONDS = 60.0  # how long one long poll of the queue lasts
COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)  # a rank waits for the others, which may be evaluating or saving
LONGEST_CAUSE = 500  # characters of an error's first line that are shown


def serve(settings: RunnerSettings, runner: str) -> None:
    """Run trials for as long as the group lives.  Raises RuntimeError, which ends the group, if a job raises."""
    queue, job = settings.queue, ray.cloudpickle.loads(settings.job)
    torch.set_num_threads(max(1, int(settings.resources["CPU"])))
    # Alone, get_device takes any GPU that it sees.
    device = get_device() if "GPU" in settings.resources else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    _join_process_group(device)
    generation = 0
    while True:
        assignment = _agree(partial(_next_assignment, queue, runner, generation))
        generation = assignment.generation
        try:
            _run(job, device, assignment, _QueueReporter(queue, runner, assignment, settings.storage))
        except StopTrial:
            continue
        finally:
            _tidy(device)
        if _rank() == 0:
            ray.get(queue.finish.remote(runner, generation))


def _join_process_group(device: torch.device) -> None:
    """Join all ranks: nccl with GPUs, gloo without; the environment is what torchrun sets."""
    context = ray.train.get_context()
    ranks = {
        "RANK": _rank(),
        "WORLD_SIZE": _world(),
        "LOCAL_RANK": context.get_local_rank(),
        "LOCAL_WORLD_SIZE": context.get_local_world_size(),
        "NODE_RANK": context.get_node_rank(),
    }
    os.environ.update({name: str(number) for name, number in ranks.items()})
    rendezvous = None
    if _rank() == 0:
        host = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        rendezvous = TCPStore(host, 0, is_master=True, wait_for_workers=False)
    address = _agree(lambda: rendezvous and (rendezvous.host, rendezvous.port))
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=rendezvous or TCPStore(*address),
        rank=_rank(),
        world_size=_world(),
        timeout=COLLECTIVE_TIMEOUT,
    )


def _run(job: Callable[..., None], device: torch.device, assignment: Assignment, reporter: _QueueReporter) -> None:
    random.seed(0)  # nothing of a trial may depend on what ran before in this process
    torch.manual_seed(0)
    scratch = Path(tempfile.mkdtemp(prefix=f"gensweep-{assignment.trial}-"))
    try:
        resume = tuple(fetch(uri, scratch / "resume") for uri in assignment.checkpoints)
        job(assignment.config, WorkerContext(_rank(), _world(), device, scratch, resume), reporter)
    except (StopTrial, ray.exceptions.RayError):
        raise  # the latter: some process of the sweep is lost, which is not the job's fault
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        reporter.job_raised(cause.splitlines()[0][:LONGEST_CAUSE], traceback.format_exc())
        raise RuntimeError(cause) from None  # which can be pickled, unlike some errors
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _QueueReporter:
    """The Reporter of one trial."""

    def __init__(self, queue: Any, runner: str, assignment: Assignment, storage: str) -> None:
        self._queue, self._runner, self._storage = queue, runner, storage
        self._trial, self._generation = assignment.trial, assignment.generation

    def progress(self, images: int, numbers: Mapping[str, float]) -> None:
        """Send them, without waiting."""
        _require_finite(images, numbers)
        self._report(Progressed(self._trial, images, dict(numbers)))

    def paced(self, images: int, images_per_second: float) -> None:
        """Send it."""
        self._report(Paced(self._trial, images, images_per_second))

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """Move the folder into the storage, then send, and wait for what the scheduler says to these scores."""
        _require_finite(evaluation.images, evaluation.numbers())
        uri = checkpoint_uri(self._storage, self._trial, evaluation.images)
        if _rank() == 0:
            store(folder, uri)
            shutil.rmtree(folder)
        self._report(Evaluated(self._trial, evaluation, uri))

    def job_raised(self, error: str, details: str) -> None:
        """Tell why this rank is about to end the group."""
        ray.get(self._queue.job_raised.remote(self._runner, self._generation, _rank(), error, details))

    def _report(self, event: Report) -> None:
        if not _agree(lambda: ray.get(self._queue.report.remote(self._runner, self._generation, event))):
            raise StopTrial


def _require_finite(images: int, numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value} at image {images}")


def _next_assignment(queue: Any, runner: str, after: int) -> Assignment:
    assignment: Assignment | None = None
    while assignment is None:
        assignment = ray.get(queue.next_assignment.remote(runner, after, POLL_SECONDS))
    return assignment


def _agree(ask: Callable[[], Any]) -> Any:
    """Rank 0's answer, on every rank."""
    answer = ask() if _rank() == 0 else None
    return answer if _world() == 1 else broadcast_from_rank_zero(answer)


def _rank() -> int:
    return int(ray.train.get_context().get_world_rank())


def _world() -> int:
    return int(ray.train.get_context().get_world_size())


def _tidy(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
