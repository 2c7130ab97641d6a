"""Several workers of a trial: one run of Ray Train, with a mailbox between them and the trial.

If a trial's process is killed, Ray keeps its workers' placement group until the job ends.  So each worker requests a
few bytes of memory, a number computed from the trial's name, by which the driver or the next attempt finds the group
and frees it.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Sequence
from typing import Any

import ray
import ray.train
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from gensweep.files import is_waiting, write_for_owner_alone
from gensweep.run.cluster import set_switches
from gensweep.run.messages import Assignment, Done, Mailbox, TrialSettings
from gensweep.run.nodes import NODE_LOST, has_died
from gensweep.run.worker import train_trial

MARK_BYTES = 3  # of a hash: a mark is at most 16 MB of memory
CALLS_AT_ONCE = 64  # of a mailbox: a rank may wait in one call and report progress in others
COLLECTIVE_SECONDS = 1800  # that a rank waits for others, which may be evaluating or saving
PLACING_SECONDS = 2.0  # Ray places bundles within tenths of a second if they fit
WAITING_INTERVAL = 5.0  # seconds between two checks whether a worker waits for another process
# Newer versions of Ray restart the workers of a reclaimed node themselves, and training would start from the beginning.
NO_RETRIES: dict[str, Any] = {
    key: 0 for key in ("max_failures", "max_preemption_failures") if key in FailureConfig.__dataclass_fields__
}
_CONNECTION = re.compile(r"gloo|nccl|DistNetworkError|connection (closed|reset)|broken pipe", re.IGNORECASE)


class _Remote:
    """Calls an actor's methods as if it were a local object."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: ray.get(getattr(self.actor, name).remote(*arguments))


def remote_mailbox() -> Any:
    """A mailbox in an actor on this node."""
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    options = {"num_cpus": 0, "max_concurrency": CALLS_AT_ONCE, "label_selector": here}
    return _Remote(ray.remote(Mailbox).options(**options).remote())


def train_in_group(settings: TrialSettings, assignment: Assignment, mailbox: Any) -> None:
    """Train with several workers until they have ended."""
    set_switches()
    try:
        _trainer(settings, assignment, mailbox).fit()
        mailbox.send(Done())
    except Exception as error:
        mailbox.send(_failure(error, mailbox.errors(), mailbox.nodes()))


def _trainer(settings: TrialSettings, assignment: Assignment, mailbox: Any) -> TorchTrainer:
    *more, fewest = settings.worker_counts
    return TorchTrainer(
        begin,
        train_loop_config={"settings": settings, "assignment": assignment, "mailbox": mailbox.actor},
        torch_config=TorchConfig(timeout_s=COLLECTIVE_SECONDS),
        scaling_config=ScalingConfig(
            num_workers=_largest_that_fits(settings.resources, more) or fewest,
            use_gpu="GPU" in settings.resources,
            resources_per_worker={**settings.resources, "memory": mark(settings.sweep_id, assignment.trial)},
        ),
        run_config=RunConfig(
            name=f"{assignment.trial}-{time.time_ns()}",
            storage_path=str(settings.scratch),
            failure_config=FailureConfig(**NO_RETRIES),
        ),
    )


def stop_group(thread: threading.Thread, mailbox: Any, sweep_id: str, trial: str) -> None:
    """End the workers of a trial and free their resources."""
    while True:
        # Repeatedly: the run may be about to create a group, and a killed controller leaves one.
        free_groups(mark(sweep_id, trial))
        if not thread.is_alive():
            break
        thread.join(timeout=0.1)
    ray.kill(mailbox.actor)


def begin(config: dict[str, Any]) -> None:
    """Train in one rank of a run of Ray Train."""
    write_for_owner_alone()
    mailbox: Any = _Remote(config["mailbox"])
    mailbox.enter(ray.get_runtime_context().get_node_id(), os.getpid())
    threading.Thread(target=_watch_cache, args=[mailbox], daemon=True).start()
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    train_trial(config["settings"], config["assignment"], mailbox, rank=rank, world=world, device=get_device())


def _watch_cache(mailbox: Any) -> None:
    """Waiting for another process to fill the cache counts as progress: that process is watched itself."""
    while True:
        time.sleep(WAITING_INTERVAL)
        if is_waiting():
            mailbox.move(None)


def mark(sweep_id: str, trial: str) -> float:
    """Bytes of memory that identify the placement group of a trial's workers."""
    return float(1 + int.from_bytes(hashlib.sha256(f"{sweep_id} {trial}".encode()).digest()[:MARK_BYTES]))


def free_groups(*marks: float) -> None:
    """Remove the placement groups with these marks, which kills their workers."""
    for group, entry in placement_group_table().items():
        if entry["state"] != "REMOVED" and {each.get("memory") for each in entry["bundles"].values()} <= {*marks}:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group))))


def _largest_that_fits(bundle: dict[str, float], counts: Sequence[int]) -> int | None:
    """The first of some numbers of workers that fits now.  Ray's own range would also choose numbers between them."""
    for count in counts:
        group = placement_group([dict(bundle)] * count)
        try:
            if group.wait(PLACING_SECONDS):
                return count
        finally:
            remove_placement_group(group)
    return None


def _failure(error: Exception, errors: dict[int, Done], nodes: set[str]) -> Done:
    """Why a run ended.  If a killed worker made its peers raise, the cause is the lost worker."""
    if any(map(has_died, nodes)):
        return Done(NODE_LOST, f"{type(error).__name__}: {error}", lost=True, counts=False)
    failed = error.worker_failures if isinstance(error, WorkerGroupError) else {}
    # Ray Train wraps the death of a process in another error.
    causes = {rank: getattr(failure, "health_check_failure", failure) for rank, failure in failed.items()}
    dead = {rank: cause for rank, cause in causes.items() if isinstance(cause, RayActorError)}
    lost_connection = any(_CONNECTION.search(str(each.error)) for each in errors.values())
    if errors and not dead and not lost_connection:
        details = "\n".join(f"rank {rank}:\n{each.details}" for rank, each in sorted(errors.items()))
        return Done(errors[min(errors)].error, details, lost=all(each.lost for each in errors.values()))
    texts = {rank: f"{type(cause).__name__}: {cause}" for rank, cause in sorted(causes.items())}
    whole = f"{type(error).__name__}: {error}"
    lines = "; ".join(f"rank {rank}: {_exit_of(texts[rank])}" for rank in sorted(dead or causes))
    return Done(f"worker lost ({lines or _exit_of(whole)})", "\n\n".join([whole, *texts.values()]), lost=True)


def _exit_of(text: str) -> str:
    """How a process ended, in one line: Ray's message if there is one."""
    found = re.search(r"exit detail: ([^.]+)", text)
    return found[1] if found else text.splitlines()[0]
