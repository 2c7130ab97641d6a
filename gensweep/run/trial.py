"""A trial as Tune runs it: each step returns the next report of the workers.

One worker trains in a thread of this process, which then takes the next trial.  Several workers train in a run of Ray
Train.  After an error Tune replaces the process; if the cause was infrastructure, the next one resumes the trial.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import ray
from ray import tune

from gensweep.files import is_waiting, write_for_owner_alone
from gensweep.run.messages import Assignment, Done, Mailbox, News, TrialSettings
from gensweep.sweep.events import Started

if TYPE_CHECKING:
    from gensweep.run.group import Group

REPORT_SECONDS = 5.0  # between two signs that a trial makes progress
CLOSING_SECONDS = 0.2  # the same once the sweep stops
STOPPING_SECONDS = 10.0  # that a worker has to reach its next report


class NewProcessError(Exception):
    """Raised to let Tune replace this process: an error may have left its GPU or its libraries in a bad state."""


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
        self._attempt: OneWorker | Group | None = None
        self._spoiled = False
        """True once this process is to be replaced."""
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

        Raises NewProcessError after an error.
        """
        trial = self._assignment.trial
        if not self._taken:
            self._taken = True
            node = ray.get_runtime_context().get_node_id()
            return {"taken": trial, "node": node, "pid": os.getpid(), "spoiled": self._spoiled}
        if self._spoiled:
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
                    return {"alive": trial, "phase": news.phase}
                case None:
                    continue  # the driver notices the silence
                case Started():
                    self._begun = True
            return {"event": news.message, "phase": news.phase, "workers": news.workers}

    def cleanup(self) -> None:
        """End the workers before Tune lets go of this process."""
        self._stop()

    def _start(self) -> OneWorker | Group:
        if self._settings.worker_counts[0] > 1:
            from gensweep.run.group import Group

            return Group(self._settings, self._assignment)
        return OneWorker(self._settings, self._assignment)

    def _stop(self) -> None:
        if self._attempt is not None and not self._attempt.stop():
            self._spoiled = True
        self._attempt = None

    def _ended(self, done: Done) -> dict[str, Any]:
        self._stop()
        if done.error is None:
            return {"finished": True, "done": True}
        if done.ends_sweep:
            return {"sweep_failure": done.error, "done": True}
        self._spoiled = True
        host, session = socket.gethostname(), ray.get_runtime_context().get_session_name()
        where = f"Output of the workers: logs/ of Ray's session {session} on {host} (by default below /tmp/ray)"
        details = f"{done.details}\n\n{where}"
        if not done.lost:
            return {"failure": done.error, "details": details, "done": True}
        return {"lost": self._assignment.trial, "cause": done.error, "details": details, "counts": done.counts}

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

        from gensweep.run.worker import train_trial
        from gensweep.training.reporter import StopTrial

        device = torch.device("cuda" if "GPU" in self._settings.resources else "cpu")
        try:
            train_trial(self._settings, self._assignment, self._mailbox, rank=0, world=1, device=device)
            self._mailbox.send(Done())
        except StopTrial:
            pass
        except Exception:
            for error in self._mailbox.errors().values():
                self._mailbox.send(Done(error.line, error.details, lost=error.infrastructure))
