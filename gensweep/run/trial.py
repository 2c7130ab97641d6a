"""A trial as Tune runs it: each step returns the next report of the workers.

One worker trains in a thread of this process, which then takes the next trial.  Several workers train in a run of Ray
Train.  If they fail because of infrastructure, the trial starts again from its last checkpoint, unless the driver ends
it.  The process itself is replaced by Tune if it dies.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
from dataclasses import replace
from functools import cache
from typing import Any, Literal, Protocol

import ray
from ray import tune

from gensweep.files import is_waiting, write_for_owner_alone
from gensweep.run.mailbox import Done, JobError, Mailbox, News
from gensweep.run.out_of_memory import memory_cause, oom_kills, what_fits
from gensweep.run.settings import Assignment, TrialSettings
from gensweep.sweep.events import Evaluated, Saved, Started
from gensweep.sweep.trial_state import CHECKPOINTS_KEPT

REPORT_SECONDS = 5.0  # between two signs that a trial makes progress
CLOSING_SECONDS = 0.2  # the same once the sweep stops
STOPPING_SECONDS = 10.0  # that a worker has to reach its next report


class NewProcessError(Exception):
    """Raised to let Tune replace this process: an error may have left its GPU or its libraries in a bad state."""


class Attempt(Protocol):
    """The workers of one attempt at a trial."""

    def take(self, timeout: float) -> News:
        """The next news; the last is a `Done`."""

    def close(self) -> None:
        """Ask the workers to save a checkpoint."""

    def stop(self) -> bool:
        """End the workers.  False if they do not end."""


class Bell:
    """An actor that tells all trials at once that the sweep is about to stop."""

    def __init__(self) -> None:
        import asyncio

        self._rung = asyncio.Event()

    async def ring(self) -> None:
        """Tell them."""
        self._rung.set()

    async def wait(self) -> None:
        """Return once the bell has rung."""
        await self._rung.wait()


class SweepTrial(tune.Trainable):
    """See the module.  Its configuration has the name of the trial, `trial`, its `config` and its `checkpoints`."""

    def setup(self, config: dict[str, Any], settings: TrialSettings | None = None) -> None:
        """Remember the settings."""
        assert settings is not None
        write_for_owner_alone()
        self._settings = settings
        self._closing = threading.Event()
        self._attempt: Attempt | None = None
        self._replace: Literal["", "soon", "now"] = ""
        threading.Thread(target=self._listen, daemon=True).start()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._stop()
        self._assignment = Assignment(**new_config)
        if self._settings.worker_counts[0] > 1:  # a process that was killed leaves its workers
            from gensweep.run.group import free_groups, mark

            free_groups(mark(self._settings.sweep_id, self._assignment.trial))
        self._taken = self._begun = False
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next report and return it.  The first result says which process has taken the trial.

        Raises NewProcessError if an earlier trial failed here.
        """
        if not self._taken:
            self._taken = True
            node = ray.get_runtime_context().get_node_id()
            return {"taken": self._assignment.trial, "node": node, "pid": os.getpid()}
        if self._replace == "soon":
            self._replace = "now"
            return {"replaced": self._assignment.trial}
        if self._replace == "now":
            raise NewProcessError
        attempt = self._attempt = self._attempt or self._start()
        while True:
            closing = self._closing.is_set()
            if closing:
                attempt.close()
            try:
                news = attempt.take(CLOSING_SECONDS if closing else REPORT_SECONDS)
            except ray.exceptions.RayActorError as error:  # the mailbox was killed
                news = News(Done("a process of its workers was lost", str(error), lost=True), None, moved=True)
            match news.message:
                case Done() as done:
                    return self._ended(done)
                case None if news.moved or closing or not self._begun:  # workers may wait for their place
                    return {"alive": self._assignment.trial, "phase": news.phase}
                case None:
                    continue  # the driver notices the silence
                case Evaluated(checkpoint=str(name)) | Saved(checkpoint=name):
                    older = (each for each in self._assignment.checkpoints if each != name)
                    self._assignment = replace(self._assignment, checkpoints=(name, *older)[:CHECKPOINTS_KEPT])
                case Started():
                    self._begun = True
            return {"event": news.message, "phase": news.phase, "workers": news.workers}

    def cleanup(self) -> None:
        """End the workers before Tune lets go of this process."""
        self._stop()

    def _start(self) -> Attempt:
        self._begun, self._kills = False, oom_kills()
        if self._settings.worker_counts[0] > 1:
            from gensweep.run.group import Group

            return Group(self._settings, self._assignment)
        return OneWorker(self._settings, self._assignment)

    def _stop(self) -> None:
        if self._attempt is not None:
            ended = self._attempt.stop()
            self._replace = self._replace if ended else "soon"
        self._attempt = None

    def _ended(self, done: Done) -> dict[str, Any]:
        self._stop()
        if done.error is None:
            return {"finished": True, "done": True}
        if done.ends_sweep:
            return {"sweep_failure": done.error, "done": True}
        self._replace = "soon" if self._settings.worker_counts[0] == 1 else ""
        details = f"{done.details}\n\n{_log_folder()}"
        if not done.lost:
            return {"failure": done.error, "details": details, "done": True}
        killed = memory_cause(done.details, oom_kills() - self._kills)
        cause = done.error if killed is None else f"{killed}: {what_fits(self._assignment.config)}"
        return {"lost": self._assignment.trial, "cause": cause, "details": details, "counts": done.counts}

    def _listen(self) -> None:
        ray.get(self._settings.bell.wait.remote())
        self._closing.set()


class OneWorker:
    """A worker in a thread of this process."""

    def __init__(self, settings: TrialSettings, assignment: Assignment) -> None:
        self._settings, self._assignment = settings, assignment
        self._mailbox = Mailbox()
        self._thread = threading.Thread(target=self._run, name=assignment.trial, daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> News:
        """The next news; the last is a `Done`."""
        news = self._mailbox.take(timeout)
        return news._replace(moved=news.moved or is_waiting())

    def close(self) -> None:
        """Ask the worker to save a checkpoint."""
        self._mailbox.close()

    def stop(self) -> bool:
        """End the worker at its next report.  False if it does not come to one."""
        self._mailbox.stop()
        self._thread.join(STOPPING_SECONDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        import torch

        from gensweep.run.worker import Line, train_trial
        from gensweep.training.reporter import StopTrial

        settings, mailbox, failed = self._settings, self._mailbox, list[JobError]()
        if (problem := _storage_problem(settings.storage, settings.own_storage)) is not None:
            mailbox.send(Done(problem, ends_sweep=True))
            return
        job = settings.job.open()
        _freeze_imports()
        mailbox.send(Started(self._assignment.trial))
        try:
            train_trial(
                job,
                self._assignment,
                rank=0,
                world=1,
                threads=max(1, int(settings.resources["CPU"])),
                device=torch.device("cuda" if "GPU" in settings.resources else "cpu"),
                storage=settings.storage,
                line=Line(mailbox.send, mailbox.move, mailbox.is_closing, lambda rank, error: failed.append(error)),
            )
            mailbox.send(Done())
        except StopTrial:
            pass
        except Exception as error:
            known = failed[0] if failed else JobError(f"{type(error).__name__}: {error}".splitlines()[0], "")
            mailbox.send(Done(known.line, known.details, lost=known.infrastructure))


@cache
def _freeze_imports() -> None:
    """Exempt the imported modules from garbage collection, which would take 0.1 s after each trial."""
    gc.collect()
    gc.freeze()


@cache
def _storage_problem(root: str, own: bool) -> str | None:
    """Why this process cannot use the storage; asked once."""
    from gensweep.sweep.storage import worker_problem

    return worker_problem(root, own=own)


def _log_folder() -> str:
    host, session = socket.gethostname(), ray.get_runtime_context().get_session_name()
    return f"Output of the workers: logs/ of Ray's session {session} on {host} (by default below /tmp/ray)"
