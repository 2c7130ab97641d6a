"""Tune's side of the bridge: a trial actor that keeps a worker group and feeds it one trial after another.

One report of the workers is one Tune result.  The actor itself asks for no CPU; its workers have their own placement
group.  What fails is handled here: a lost worker costs a new group and the trial goes on from its last checkpoint; an
exception of the job ends the trial with a result that says so, and the next trial gets a new group.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

from gensweep.sweep.placement import take_lease
from gensweep.sweep.trial_queue import Assignment, Message, Report
from gensweep.sweep.worker_group import RunnerSettings, WorkerGroup

GROUP_CHECK_INTERVAL = 5.0  # seconds between two looks whether the worker group still lives


class TrialRunner(tune.Trainable):
    """See the module.  Its configuration: `trial`, the name, and `config`, that of the trial."""

    def setup(self, config: dict[str, Any], settings: RunnerSettings | None = None) -> None:
        """Remember the settings; the worker group starts with the first step."""
        assert settings is not None
        self._settings, self._queue = settings, settings.queue
        self._name = str(ray.get_runtime_context().get_actor_id())
        self._lease = take_lease(settings.leases, self._name)
        self._group: WorkerGroup | None = None
        self._trials_of_group = 0
        self._generation = 0
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._assignment = Assignment(**new_config)
        self._assigned = False
        self._failures = 0
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next message about this trial and return it as one result."""
        if not self._assigned:
            self._assign()
        while True:
            take = self._queue.take.remote(self._name, self._generation, GROUP_CHECK_INTERVAL)
            message: Report | Message | None = ray.get(take)
            if message is None:
                if self._group is not None and self._group.alive:
                    continue
                message = Message("failed", error="worker group lost", lost=True)
            if not isinstance(message, Message):
                self._assignment = self._assignment.after(message)
                return {"event": message}
            match message.kind:
                case "finished":
                    return {"finished": True, "done": True}
                case "closed":
                    return {RESULT_DUPLICATE: True}
                case "failed":
                    self._release()
                    if not message.lost or self._failures >= self._settings.max_failures:
                        details = f"{message.details}\n\n{_where_ray_logs()}"
                        return {"failure": message.error, "details": details, "done": True}
                    self._failures += 1
            self._assign()  # again, to new workers or after the queue has started anew

    def cleanup(self) -> None:
        """Free everything before Tune lets go of this actor."""
        self._release()
        (self._settings.leases / self._name).unlink(missing_ok=True)
        self._lease.close()

    def _assign(self) -> None:
        used_up = self._trials_of_group >= self._settings.trials_per_group
        if self._group is not None and (used_up or not self._group.alive):
            self._release()
        self._assigned = True
        self._trials_of_group += 1
        self._generation += 1
        assignment = replace(self._assignment, generation=self._generation)
        self._assignment = ray.get(self._queue.assign.remote(self._name, assignment))
        if self._group is None:
            run = f"{self._name}-{self._generation}"
            self._group = WorkerGroup(self._settings, self._name, run, self._group_ended)

    def _group_ended(self, reason: str) -> None:
        ray.get(self._queue.group_ended.remote(self._name, self._generation, reason))

    def _release(self) -> None:
        if self._group is not None:
            self._group.close()
        self._group = None
        self._trials_of_group = 0


def _where_ray_logs() -> str:
    host, session = socket.gethostname(), ray.get_runtime_context().get_session_name()
    return f"What the workers printed: logs/ of Ray's session {session} on {host} (by default below /tmp/ray)"
