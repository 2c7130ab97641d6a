"""Stands in for `run_plan`: the trials run in this process, one after the other; all but Ray is real."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from list_reporter import ListReporter

from gensweep.search.session import Session
from gensweep.search.sweep_plan import SweepResult
from gensweep.sweep.checkpoints import checkpoint_name, checkpoint_place, store
from gensweep.sweep.events import Evaluated, Progressed, SessionEnded, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.storage import held_storage
from gensweep.training.reporter import WorkerContext


class SessionReporter(ListReporter):
    """Tells the session, too."""

    def __init__(self, session, trial, root):
        super().__init__()
        self.session, self.trial, self.root = session, trial, root

    def progress(self, images, numbers):
        super().progress(images, numbers)
        self.session.reported(Progressed(self.trial, images, numbers))

    def evaluated(self, evaluation, folder):
        super().evaluated(evaluation, folder)
        name = checkpoint_name(self.trial, evaluation.images)
        store(folder, checkpoint_place(self.root, name))
        shutil.rmtree(folder)
        self.session.reported(Evaluated(self.trial, evaluation, name))


def run_without_ray(plan, observers, *, root, **_):
    """A sweep of trials that nobody stops."""
    folder = SweepFolder(root, plan.name)
    with held_storage(folder, None, plan.settings) as held:
        session = Session(plan, folder, observers, concurrent=1, storage=held)
        while (trial := session.next_trial()) is not None:
            session.note(Started(trial.trial))
            with TemporaryDirectory() as scratch:
                checkpoints = tuple(
                    Path(checkpoint_place(held.root, each)) for each in session.checkpoints_of(trial.trial)
                )
                context = WorkerContext(0, 1, torch.device("cpu"), Path(scratch), checkpoints)
                plan.job(trial.config, context, SessionReporter(session, trial.trial, held.root))
            session.ended(trial.trial, {"finished": True})
        session.note(SessionEnded("finished"))
        return SweepResult(folder.path, session.state)
