"""Tune's side of the bridge: a trial actor that keeps a worker group and feeds it one trial after another.

One report of the workers is one Tune result.  The actor itself asks for no CPU; its workers have their own placement
group.  What fails is one result, too: after lost workers, or a cause outside of the trial, it goes on from its last
checkpoint with a new group, unless the driver ends it; an exception of the job ends the trial, and the next one gets a
new group.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

from gensweep.sweep.events import Entered, Report, Started
from gensweep.sweep.kept_worker import RunnerSettings
from gensweep.sweep.out_of_memory import memory_cause, oom_kills, what_fits
from gensweep.sweep.placement import any_gone, nodes_of, take_lease
from gensweep.sweep.stacks import examine_all
from gensweep.sweep.trial_queue import Assignment, GroupEnd, Message
from gensweep.sweep.worker_group import WorkerGroup

GROUP_CHECK_INTERVAL = 5.0  # seconds between two looks whether the worker group still lives


class TrialRunner(tune.Trainable):
    """See the module.  Its configuration: `trial`, the name, and `config`, that of the trial."""

    def setup(self, config: dict[str, Any], settings: RunnerSettings | None = None) -> None:
        """Remember the settings, and start the worker group: it takes seconds until that asks for its first trial."""
        assert settings is not None
        self._settings, self._queue = settings, settings.queue
        self._name = str(ray.get_runtime_context().get_actor_id())
        self._lease = take_lease(settings.leases, self._name)
        self._nodes: tuple[str, ...] = ()
        self._trials_of_group = 0
        self._generation = 0
        self.reset_config(config)
        self._start_group(f"{self._name}-0")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._assignment = Assignment(**new_config)
        self._taken = self._assigned = False
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next message about this trial and return it as one result; the first one is that it is taken."""
        if not self._taken:
            self._taken = True
            return {"taken": self._assignment.trial}
        if not self._assigned:
            self._assign()
            if self._trials_of_group == 1:
                return {"event": Entered(self._assignment.trial, "starting workers"), "runner": self._name}
        while True:
            take = self._queue.take.remote(self._name, self._generation, GROUP_CHECK_INTERVAL)
            message: Report | Message | None = ray.get(take)
            if message is None:
                self._nodes = self._nodes or nodes_of(self._name)  # of workers that start
                if self._group is not None and self._group.alive:
                    continue
                message = Message("failed", error="worker group lost", outside=True)
            if not isinstance(message, Message):
                self._assignment = self._assignment.after(message)
                return {"event": message, "runner": self._name}
            match message.kind:
                case "begun":
                    self._nodes = message.nodes
                    return {"event": Started(self._assignment.trial)}
                case "finished":
                    return {"finished": True, "done": True, "runner": self._name}
                case "closed":
                    return {RESULT_DUPLICATE: True}
                case "stalled":
                    return self._failed(_explained(message))
                case "failed":
                    return self._failed(message)
            self._assign()  # again, as the queue has started anew

    def _failed(self, message: Message) -> dict[str, Any]:
        nodes = self._nodes
        node_lost = message.preempted or any_gone(nodes)
        self._release()
        self._assigned = False
        details = f"{message.details}\n\n{_where_ray_logs()}"
        here = not nodes or ray.get_runtime_context().get_node_id() in nodes
        killed = memory_cause(message.details, oom_kills() - self._kills if here and message.outside else 0)
        error = message.error if killed is None else f"{killed}: {what_fits(self._assignment.config)}"
        if message.ends_sweep:
            return {"sweep_failure": message.error, "done": True}
        if not message.outside and not node_lost:
            return {"failure": message.error, "details": details, "done": True}
        lost = {"lost": self._assignment.trial, "cause": error, "details": details, "stack": message.stack}
        return {**lost, "counts": not node_lost}

    def cleanup(self) -> None:
        """Free everything before Tune lets go of this actor."""
        self._release()
        (self._settings.leases / self._name).unlink(missing_ok=True)
        self._lease.close()

    def _assign(self) -> None:
        used_up = self._trials_of_group >= self._settings.trials_per_group
        freed = bool(self._nodes) and not nodes_of(self._name)  # by the driver, which Train has not noticed yet
        if self._group is not None and (used_up or freed or not self._group.alive or self._group.can_grow()):
            self._release()
        self._assigned = True
        self._trials_of_group += 1
        self._generation += 1
        assignment = replace(self._assignment, generation=self._generation)
        new_group = f"{self._name}-{self._generation}" if self._group is None else None
        self._assignment = ray.get(self._queue.assign.remote(self._name, assignment, new_group=new_group))
        if new_group is not None:
            self._start_group(new_group)

    def _start_group(self, name: str) -> None:
        self._kills = oom_kills()
        self._group: WorkerGroup | None = WorkerGroup(self._settings, self._name, name, self._group_ended)

    def _group_ended(self, end: GroupEnd) -> None:
        ray.get(self._queue.group_ended.remote(self._name, self._generation, end))

    def _release(self) -> None:
        if self._group is not None:
            self._group.close()
        self._group, self._nodes = None, ()
        self._trials_of_group = 0


def _explained(message: Message) -> Message:
    """The same, with where the stuck workers hang; what they wait for may be outside of the trial."""
    found = list(zip(message.stuck, examine_all(message.stuck), strict=True))
    stacks = [f"rank {stuck.sign.rank}: {finding.line}\n{finding.stack}".rstrip() for stuck, finding in found]
    threads = [f"threads of rank {stuck.sign.rank}:\n{finding.threads}" for stuck, finding in found if finding.threads]
    return replace(
        message,
        error="; ".join(f"{stuck}: {finding.line}" for stuck, finding in found),
        stack="\n\n".join(stacks),
        details="\n\n".join(threads),
        outside=True,
    )


def _where_ray_logs() -> str:
    host, session = socket.gethostname(), ray.get_runtime_context().get_session_name()
    return f"What the workers printed: logs/ of Ray's session {session} on {host} (by default below /tmp/ray)"
