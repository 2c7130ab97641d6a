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
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
import ray.train
import torch
import torch.distributed
from ray.train.collective import broadcast_from_rank_zero
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from gensweep.causes import file_problem, memory_problem
from gensweep.errors import is_outside
from gensweep.files import scratch_folder, write_for_owner_alone
from gensweep.phases import Phase
from gensweep.results import Evaluation
from gensweep.sweep.checkpoints import IncompleteCheckpointError, checkpoint_uri, fetch, store
from gensweep.sweep.cluster import PREEMPTION_SWITCH
from gensweep.sweep.events import Evaluated, Noted, Paced, Progressed, Report, Saved
from gensweep.sweep.heartbeat import Heartbeat
from gensweep.sweep.kept_worker import RunnerSettings
from gensweep.sweep.out_of_memory import what_fits
from gensweep.sweep.storage import worker_problem
from gensweep.sweep.system_metrics import SystemMeter
from gensweep.sweep.trial_queue import Assignment, JobError
from gensweep.training.reporter import DEFAULT_STALL_TIMEOUT, StopTrial, WorkerContext

POLL_SECONDS = 60.0  # how long one long poll of the queue lasts
COLLECTIVE_TIMEOUT = datetime.timedelta(minutes=30)  # a rank waits for the others, which may be evaluating or saving
LOOPBACK = "127.0.0.1"  # the address of a node that Ray was told to keep to itself
LONGEST_CAUSE = 500  # characters of an error's first line that are shown


def serve(settings: RunnerSettings, runner: str, group: str) -> None:
    """Run trials for as long as the group lives.  Raises RuntimeError, which ends the group, if a job raises."""
    write_for_owner_alone()
    queue, job = settings.queue, settings.job.open()
    torch.set_num_threads(max(1, int(settings.resources["CPU"])))
    device = torch.device("cpu")
    if "GPU" in settings.resources:
        from ray.train.torch import get_device  # alone, it takes any GPU that it sees

        device = get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    nodes = _join_process_group(device)
    problem = worker_problem(settings.storage, own=settings.own_storage)
    generation = 0
    heartbeat = _heartbeat(queue, runner, group)
    while True:
        heartbeat.rest()
        assignment = _agree(partial(_next_assignment, queue, runner, generation))
        generation = assignment.generation
        if problem is not None:
            ray.get(queue.storage_failed.remote(runner, generation, problem))
            raise RuntimeError(problem)
        heartbeat.begin(_stall_timeout(assignment.config))
        if _rank() == 0:
            ray.get(queue.begin.remote(runner, generation, nodes))
        try:
            _run(job, device, assignment, _QueueReporter(queue, runner, assignment, settings.storage, heartbeat))
        except StopTrial:
            continue
        finally:
            _tidy(device)
        if _rank() == 0:
            ray.get(queue.finish.remote(runner, generation))


def _heartbeat(queue: Any, runner: str, group: str) -> Heartbeat:
    """Signs of life of this rank, from now on."""
    heartbeat = Heartbeat(
        lambda sign: queue.hear.remote(runner, group, sign),
        rank=_rank(),
        node=ray.get_runtime_context().get_node_id(),
        meetings=_meetings,
        timeout=DEFAULT_STALL_TIMEOUT,
    )
    heartbeat.start()
    return heartbeat


def _stall_timeout(config: Any) -> float | None:
    """What the configuration of a trial says, or the default, as in those of older versions."""
    training = config.get("training")
    return training.get("stall_timeout", DEFAULT_STALL_TIMEOUT) if training else DEFAULT_STALL_TIMEOUT


def _meetings() -> int:
    """How many operations of all ranks this one has come to."""
    # Not public, but the only count that is taken where the operations of all backends begin.
    count = getattr(torch.distributed.group.WORLD, "_get_sequence_number_for_group", lambda: 0)
    return _Agreements.count + int(count())


def _join_process_group(device: torch.device) -> tuple[str, ...]:
    """Join all ranks: nccl with GPUs, gloo without; the environment is what torchrun sets.  Returns their nodes."""
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
        rendezvous = _rendezvous(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
    address = _agree(lambda: rendezvous and (rendezvous.host, rendezvous.port))
    meeting = rendezvous or TCPStore(*address)
    meeting.set(f"node of {_rank()}", ray.get_runtime_context().get_node_id())
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=meeting,
        rank=_rank(),
        world_size=_world(),
        timeout=COLLECTIVE_TIMEOUT,
    )
    return tuple(meeting.get(f"node of {rank}").decode() for rank in range(_world()))


def _rendezvous(host: str) -> TCPStore:
    """The store where ranks meet: of one machine on its loopback alone, else on all addresses of the node."""
    if host != LOOPBACK:
        return TCPStore(host, 0, is_master=True, wait_for_workers=False)
    listening = socket.create_server((host, 0))
    port = listening.getsockname()[1]
    return TCPStore(host, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())


def _run(job: Callable[..., None], device: torch.device, assignment: Assignment, reporter: _QueueReporter) -> None:
    random.seed(0)  # nothing of a trial may depend on what ran before in this process
    torch.manual_seed(0)
    try:
        with scratch_folder(assignment.trial) as scratch:
            if assignment.checkpoints:
                reporter.moved("fetching checkpoints")
            resume = _fetched(assignment.checkpoints, scratch / "resume", reporter)
            job(assignment.config, WorkerContext(_rank(), _world(), device, scratch, resume), reporter)
    except (StopTrial, ray.exceptions.RayError):
        raise  # the latter: some process of the sweep is lost, which is not the job's fault
    except Exception as error:
        memory = memory_problem(error)
        plain = file_problem(error) if memory is None else f"{memory}: {what_fits(assignment.config)}"
        cause = plain or f"{type(error).__name__}: {error}"
        line = cause.splitlines()[0][:LONGEST_CAUSE]
        reporter.job_raised(JobError(line, traceback.format_exc(), is_outside(error)))
        raise RuntimeError(cause) from None  # which can be pickled, unlike some errors


def _fetched(uris: Sequence[str], scratch: Path, reporter: _QueueReporter) -> tuple[Path, ...]:
    """The checkpoints of which all workers have a whole copy, in their order; others are passed over and named."""
    copies, problems = dict[str, Path](), dict[str, str]()
    for uri in uris:
        try:
            copies[uri] = fetch(uri, scratch)
        except IncompleteCheckpointError as error:
            problems[uri] = str(error)
    everywhere: list[Any] = [problems]
    if _world() > 1:
        everywhere = [None] * _world()
        torch.distributed.all_gather_object(everywhere, problems)
    problems = {uri: text for each in everywhere for uri, text in each.items()}
    whole = tuple(copy for uri, copy in copies.items() if uri not in problems)
    if problems and _rank() == 0:
        reporter.note(f"{'; '.join(problems.values())}: it goes on from {whole[0].name if whole else 'the beginning'}")
    return whole


class _QueueReporter:
    """The Reporter of one trial."""

    def __init__(
        self, queue: Any, runner: str, assignment: Assignment, storage: str, heartbeat: Heartbeat | None = None
    ) -> None:
        self._queue, self._runner, self._storage, self._heartbeat = queue, runner, storage, heartbeat
        self._trial, self._generation = assignment.trial, assignment.generation
        self._warned = False
        self._meter = SystemMeter()

    def progress(self, images: int, numbers: Mapping[str, float]) -> None:
        """Send them, without waiting."""
        self.moved("training")
        _require_finite(images, numbers)
        self._report(Progressed(self._trial, images, {**numbers, **self._meter.numbers()}))

    def paced(self, images: int, images_per_second: float) -> None:
        """Send it."""
        self._report(Paced(self._trial, images, images_per_second))

    def evaluated(self, evaluation: Evaluation, folder: Path) -> None:
        """Move the folder into the storage, then send, and wait for what the scheduler says to these scores."""
        self.moved("saving")
        _require_finite(evaluation.images, evaluation.numbers())
        uri = checkpoint_uri(self._storage, self._trial, evaluation.images)
        if _rank() == 0:
            store(folder, uri)
            shutil.rmtree(folder)
        self._report(Evaluated(self._trial, evaluation, uri))

    def checkpoint_wanted(self) -> bool:
        """True once when one of the nodes is about to be taken away, as Ray drains it, and while the sweep stops."""
        leaves = not self._warned and _node_leaves()
        self._warned |= leaves
        return leaves or (_rank() == 0 and ray.get(self._queue.is_closing.remote()))

    def saved(self, images: int, folder: Path) -> None:
        """Move the folder into the storage, then send."""
        self.moved("saving")
        uri = checkpoint_uri(self._storage, self._trial, images)
        if _rank() == 0:
            store(folder, uri)
            shutil.rmtree(folder)
        self._report(Saved(self._trial, images, uri))

    def note(self, text: str) -> None:
        """Send it, from whichever rank, without waiting."""
        self.moved()
        self._queue.report.remote(self._runner, self._generation, Noted(self._trial, text))

    def moved(self, phase: Phase | None = None) -> None:
        """Count it, for the next sign of life."""
        if self._heartbeat is not None:
            self._heartbeat.moved(phase)

    def job_raised(self, error: JobError) -> None:
        """Tell why this rank is about to end the group."""
        ray.get(self._queue.job_raised.remote(self._runner, self._generation, _rank(), error))

    def _report(self, event: Report) -> None:
        if not _agree(lambda: ray.get(self._queue.report.remote(self._runner, self._generation, event))):
            raise StopTrial


def _node_leaves() -> bool:
    """Whether Ray drains a node of this group; before Ray 2.60 nobody can ask."""
    ask = getattr(ray.train, "get_preemption_info", None)
    watched = os.environ.get(PREEMPTION_SWITCH, "1") != "0"
    return ask is not None and watched and ask() is not None


def _require_finite(images: int, numbers: Mapping[str, float]) -> None:
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value} at image {images}")


def _next_assignment(queue: Any, runner: str, after: int) -> Assignment:
    assignment: Assignment | None = None
    while assignment is None:
        assignment = ray.get(queue.next_assignment.remote(runner, after, POLL_SECONDS))
    return assignment


class _Agreements:
    """How often this rank came to learn what rank 0 says."""

    count = 0


def _agree(ask: Callable[[], Any]) -> Any:
    """Rank 0's answer, on every rank."""
    answer = ask() if _rank() == 0 else None
    _Agreements.count += 1
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
