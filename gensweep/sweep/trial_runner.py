"""Tune's side of the bridge: a trial actor that keeps a worker group and feeds it one trial after another.

One report of the workers is one Tune result.  The actor itself asks for no CPU; its workers have their own placement
group.  What fails is handled here: a lost worker costs a new group and the trial goes on from its last checkpoint; an
exception of the job ends the trial with a result that says so, and the next trial gets a new group.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

from gensweep.sweep.trial_queue import Assignment, Event
from gensweep.sweep.worker_group import WorkerGroup

__all__ = ["RunnerSettings", "TrialRunner"]

PATIENCE = 5.0
"""Seconds between two looks whether the worker group still lives."""


@dataclass(frozen=True)
class RunnerSettings:
    """What every runner of a sweep has in common."""

    queue: Any
    job: bytes
    """Pickled, because its modules are for the workers only."""
    workers: int
    resources: dict[str, float]
    """Of one worker."""
    storage: str
    max_failures: int
    trials_per_group: int


class TrialRunner(tune.Trainable):
    """See the module.  Its configuration: `trial`, `config` and `checkpoints` (URIs, newest first)."""

    def setup(self, config: dict[str, Any], settings: RunnerSettings | None = None) -> None:
        """Remember the settings; the worker group starts with the first step."""
        assert settings is not None
        self._settings = settings
        self._queue = settings.queue
        context = ray.get_runtime_context()
        self._name = str(context.get_actor_id())
        self._handle = context.current_actor
        self._scratch = tempfile.mkdtemp(prefix="gensweep-train-")
        self._group: WorkerGroup | None = None
        self._trials_of_group = 0
        self._generation = 0
        self._checkpoints: tuple[str, ...] = ()
        self._assigned = False
        self._failures = 0
        self._adopt(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._adopt(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next event of this trial and return it as one result."""
        if not self._assigned:
            self._assign()
        while True:
            event: Event | None = ray.get(self._queue.take.remote(self._name, self._generation, PATIENCE))
            if event is None:
                if self._group is not None and self._group.alive:
                    continue
                event = Event("failed", error="worker group lost", lost=True)
            match event.kind:
                case "report":
                    self._checkpoints = event.checkpoints or self._checkpoints
                    uri = event.checkpoints[0] if event.checkpoints else None
                    return {"images": event.images, "report": event.report, "checkpoint": uri}
                case "finished":
                    return {"finished": True, "done": True}
                case "closed":
                    return {RESULT_DUPLICATE: True}
                case "failed":
                    self._release()
                    if not event.lost or self._failures >= self._settings.max_failures:
                        details = f"{event.details}\n\n{_where_ray_logs()}"
                        return {"failure": event.error, "details": details, "lost": event.lost, "done": True}
                    self._failures += 1
            self._assign()  # again, to new workers or after the queue has started anew

    def cleanup(self) -> None:
        """Free everything before Tune lets go of this actor."""
        self._release()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _adopt(self, config: dict[str, Any]) -> None:
        self._trial: str = config["trial"]
        self._trial_config = config["config"]
        self._checkpoints = config["checkpoints"]
        self._assigned = False
        self._failures = 0

    def _assign(self) -> None:
        used_up = self._trials_of_group >= self._settings.trials_per_group
        if self._group is not None and (used_up or not self._group.alive):
            self._release()
        self._assigned = True
        self._trials_of_group += 1
        self._generation += 1
        assignment = Assignment(self._trial, self._trial_config, self._checkpoints)
        self._checkpoints = ray.get(self._queue.assign.remote(self._name, self._handle, self._generation, assignment))
        if self._group is None:
            self._group = self._new_group()

    def _new_group(self) -> WorkerGroup:
        settings = self._settings
        return WorkerGroup(
            _serve,
            {
                "queue": self._queue,
                "runner": self._name,
                "job": settings.job,
                "threads": settings.resources["CPU"],
                "gpu": settings.resources.get("GPU", 0) > 0,
                "storage": settings.storage,
            },
            runner=self._name,
            run=f"{self._name}-{self._generation}",
            workers=settings.workers,
            resources=settings.resources,
            # Ray Train wants a place for its own book-keeping; the checkpoints do not go there.
            storage=self._scratch,
            on_end=self._group_ended,
        )

    def _group_ended(self, reason: str) -> None:
        ray.get(self._queue.group_ended.remote(self._name, self._generation, reason))

    def _release(self) -> None:
        if self._group is not None:
            self._group.close()
        self._group = None
        self._trials_of_group = 0


def _serve(config: dict[str, Any]) -> None:
    # Loads torch in the workers only: this process and the controller start two seconds sooner without it.
    from gensweep.sweep.worker import serve

    serve(config)


def _where_ray_logs() -> str:
    host, session = socket.gethostname(), ray.get_runtime_context().get_session_name()
    return f"What the workers printed: logs/ of Ray's session {session} on {host} (by default below /tmp/ray)"
