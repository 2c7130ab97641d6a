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

from gensweep.sweep.group import Failure, Group
from gensweep.sweep.mailbox import Assignment, Event, Resume

__all__ = ["OBJECTIVE", "Slot", "SlotSettings"]

OBJECTIVE = "objective"
"""The key under which Tune, its schedulers and Optuna see the best score so far."""

PATIENCE = 5.0
"""Seconds between two looks whether the worker group still lives."""


@dataclass(frozen=True)
class SlotSettings:
    """What every slot of a sweep has in common."""

    mailbox: Any
    job: bytes
    """Pickled, because its modules are for the workers only."""
    workers: int
    resources: dict[str, float]
    """Of one worker."""
    storage: str
    max_failures: int
    trials_per_group: int


class Slot(tune.Trainable):
    """See the module."""

    def setup(self, config: dict[str, Any], settings: SlotSettings | None = None) -> None:
        """Remember the settings; the worker group starts with the first step."""
        assert settings is not None
        self._settings = settings
        self._mailbox = settings.mailbox
        self._slot = ray.get_runtime_context().get_actor_id()
        self._scratch = tempfile.mkdtemp(prefix="gensweep-train-")
        self._group: Group | None = None
        self._groups = 0
        self._trials = 0
        self._adopt(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._adopt(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next event of this trial and return it as one result."""
        if self._generation == 0:
            self._begin()
        while True:
            event: Event | None = ray.get(self._mailbox.take.remote(self._slot, self._generation, PATIENCE))
            if event is None:
                if self._group is not None and not self._group.alive:
                    event = Event("failed", error="worker group lost", lost=True)
                else:
                    continue
            if event.kind == "report":
                return _result(event)
            if event.kind == "finished":
                return {"finished": True, "done": True}
            if event.kind == "closed":
                return {RESULT_DUPLICATE: True}
            self._release()
            if not event.lost or self._failures >= self._settings.max_failures:
                return {"failure": event.error, "details": f"{event.details}\n\n{_where_ray_logs()}", "done": True}
            self._failures += 1
            self._begin()

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """A pointer to where the trial stands; the checkpoint itself is in the sweep's storage already."""
        resume: Resume = ray.get(self._mailbox.get_resume.remote(self._trial))
        identity = None if resume.identity is None else dict(resume.identity)
        return {"checkpoints": list(resume.checkpoints), "best": resume.best, "identity": identity}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Go on from a pointer, be it of this trial or, with a scheduler that clones trials, of another."""
        if checkpoint:
            resume = Resume(tuple(checkpoint["checkpoints"]), checkpoint["best"], checkpoint.get("identity"))
            ray.get(self._mailbox.set_resume.remote(self._trial, resume))
            self._generation = 0

    def cleanup(self) -> None:
        """Free everything before Tune lets go of this actor."""
        self._release()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _adopt(self, config: dict[str, Any]) -> None:
        self._trial: str = config["trial"]
        self._trial_config = config["config"]
        self._resume: Resume = config["resume"]
        self._generation = 0
        self._failures = 0

    def _begin(self) -> None:
        settings = self._settings
        if self._group is not None and (not self._group.alive or self._trials >= settings.trials_per_group):
            self._release()
        assignment = Assignment(self._trial, self._trial_config, self._resume)
        self._generation = ray.get(self._mailbox.assign.remote(self._slot, assignment))
        self._trials += 1
        if self._group is None:
            self._groups += 1
            self._group = Group(
                _serve,
                {
                    "mailbox": self._mailbox,
                    "slot": self._slot,
                    "job": settings.job,
                    "threads": settings.resources["CPU"],
                    "gpu": settings.resources.get("GPU", 0) > 0,
                    "storage": settings.storage,
                },
                name=f"{self._slot}:{self._groups}",
                workers=settings.workers,
                resources=settings.resources,
                # Ray Train wants a place for its own book-keeping; the checkpoints do not go there.
                storage=self._scratch,
                on_end=self._group_ended,
            )

    def _group_ended(self, failure: Failure) -> None:
        ray.get(self._mailbox.fail.remote(self._slot, self._generation, failure.error, failure.details, failure.lost))

    def _release(self) -> None:
        if self._group is not None:
            self._group.close()
        self._group = None
        self._trials = 0


def _serve(config: dict[str, Any]) -> None:
    # Loads torch in the workers only: this process and the controller start two seconds sooner without it.
    from gensweep.sweep.worker import serve

    serve(config)


def _where_ray_logs() -> str:
    host, session = socket.gethostname(), ray.get_runtime_context().get_session_name()
    return f"What the workers printed: logs/ of Ray's session {session} on {host} (by default below /tmp/ray)"


def _result(event: Event) -> dict[str, Any]:
    result = {"images": event.metrics["images"], "report": event.metrics, "checkpoint": event.checkpoint}
    return result if event.objective is None else {**result, OBJECTIVE: event.objective}
