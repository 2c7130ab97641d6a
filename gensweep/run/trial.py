"""A trial as Tune runs it: each step returns the next report of the workers.

One worker trains in a thread of this process, which then runs the next trial.  Several workers train with Ray Train.
After an error Tune replaces the process; after an infrastructure error the new process resumes the trial.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import ray
from ray import tune

from gensweep.files import is_waiting, write_for_owner_alone
from gensweep.run.messages import Assignment, Done, Mailbox, News, TrialSettings
from gensweep.sweep.events import Started

REPORT_SECONDS = 5.0  # between two progress reports of a trial
CLOSING_SECONDS = 0.2  # the same while the sweep stops
STOPPING_SECONDS = 10.0  # within which a worker must reach its next report


class NewProcessError(Exception):
    """Makes Tune replace this process: an error may have left its GPU or its libraries in a bad state."""


class Bell:
    """An actor that notifies all trials when the sweep is about to stop."""

    def __init__(self) -> None:
        import asyncio

        self._rung = asyncio.Event()

    async def ring(self) -> None:
        """Tell them."""
        self._rung.set()

    async def wait(self) -> None:
        """Return once the bell rings."""
        await self._rung.wait()


class SweepTrial(tune.Trainable):
    """See the module.  Its configuration has the keys `trial` (a name), `config` and `checkpoints`."""

    def setup(self, config: dict[str, Any], settings: TrialSettings | None = None) -> None:
        """Store the settings."""
        assert settings is not None
        write_for_owner_alone()
        self._settings = settings
        self._closing = threading.Event()
        self._several = settings.worker_counts[0] > 1
        self._thread: threading.Thread | None = None
        self._spoiled = False
        """True if this process needs to be replaced."""
        threading.Thread(target=self._listen, daemon=True).start()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next trial."""
        self._stop()
        self._assignment = Assignment(**new_config)
        if self._several:  # a killed process leaves its workers
            from gensweep.run.group import free_groups, mark

            free_groups(mark(self._settings.sweep_id, self._assignment.trial))
        self._taken = self._begun = False
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next report and return it.  The first result identifies the trial's process.

        Raises NewProcessError after an error.
        """
        trial = self._assignment.trial
        if not self._taken:
            self._taken = True
            node = ray.get_runtime_context().get_node_id()
            return {"taken": trial, "node": node, "pid": os.getpid(), "spoiled": self._spoiled}
        if self._spoiled:
            raise NewProcessError
        if self._thread is None:
            self._start()
        while True:
            closing = self._closing.is_set()
            try:
                if closing:
                    self._mailbox.close()
                news = self._mailbox.take(CLOSING_SECONDS if closing else REPORT_SECONDS)
            except ray.exceptions.RayActorError as error:  # the mailbox was killed
                news = News(Done("a process of its workers was lost", str(error), lost=True), None, moved=True)
            match news.message:
                case Done() as done:
                    return self._ended(done)
                # Workers that have not started wait for resources.
                case None if self._begun and not (news.moved or is_waiting() or closing):
                    continue  # the driver detects missing reports
                case Started():
                    self._begun = True
            return {"trial": trial, "event": news.message, "phase": news.phase, "workers": news.workers}

    def cleanup(self) -> None:
        """End the workers before Tune releases this process."""
        self._stop()

    def _start(self) -> None:
        if self._several:
            from gensweep.run.group import remote_mailbox, train_in_group

            self._mailbox, train = remote_mailbox(), train_in_group
        else:
            self._mailbox, train = Mailbox(), train_here
        arguments = (self._settings, self._assignment, self._mailbox)
        self._thread = threading.Thread(target=train, args=arguments, name=self._assignment.trial, daemon=True)
        self._thread.start()

    def _stop(self) -> None:
        """End the workers; if a local worker does not reach its next report, Tune replaces this process."""
        if self._thread is None:
            return
        if self._several:
            from gensweep.run.group import stop_group

            stop_group(self._thread, self._mailbox, self._settings.sweep_id, self._assignment.trial)
        else:
            self._mailbox.stop()
            self._thread.join(STOPPING_SECONDS)
            self._spoiled |= self._thread.is_alive()
        self._thread = None

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


def train_here(settings: TrialSettings, assignment: Assignment, mailbox: Mailbox) -> None:
    """Train with one worker, in this thread."""
    import torch

    from gensweep.run.worker import train_trial
    from gensweep.training.reporter import StopTrial

    device = torch.device("cuda" if "GPU" in settings.resources else "cpu")
    try:
        train_trial(settings, assignment, mailbox, rank=0, world=1, device=device)
        mailbox.send(Done())
    except StopTrial:
        pass
    except Exception:
        for error in mailbox.errors().values():
            mailbox.send(error)
