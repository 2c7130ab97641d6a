"""Sweeps whose logs are written by hand, event by event, in the real format."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from gensweep.results import Cost, Evaluation, Identity, Score
from gensweep.sweep.checkpoints import checkpoint_name, checkpoint_place, store
from gensweep.sweep.events import (
    Created,
    Ended,
    Evaluated,
    Progressed,
    SessionEnded,
    SessionStarted,
    Started,
    Suggested,
)
from gensweep.sweep.folder import SweepFolder

IDENTITY = Identity("fd", "efficientnet_lite0/1280", 8, "digits", "floor(127.5 x + 128)")


def evaluation(
    images,
    value,
    *,
    identity=IDENTITY,
    mode="min",
    corrected=None,
    error=None,
    floor=None,
    ceiling=None,
    cost=None,
    **signals,
):
    """An evaluation with one score."""
    score = Score(value, mode, identity, corrected, error, floor, ceiling)
    return Evaluation(images, {identity.metric: score}, cost or Cost(images=images), signals)


class MadeEvents:
    """Makes the events of a sweep; a subclass says where they go (`add`) and which `trials` are known."""

    def start(self, trial, params=None, config=None):
        """A new trial, which starts; one that is known starts again."""
        known = self.trials
        if trial not in known:
            self.add(Suggested(trial, len(known), params or {}, params or {}, config or {}))
        self.add(Started(trial))

    def progress(self, trial, images, **numbers):
        self.add(Progressed(trial, images, numbers))

    def evaluate(self, trial, images, value, checkpoint=None, **values):
        self.add(Evaluated(trial, evaluation(images, value, **values), checkpoint))

    def end(self, trial, status="finished", error=None):
        self.add(Ended(trial, status, error))

    def close(self, status="finished"):
        self.add(SessionEnded(status))


class LoggedSweep(MadeEvents):
    """A sweep's folder below `root`, and the events that are added to its log."""

    def __init__(
        self,
        root,
        name="a",
        *,
        metric="fd",
        mode="min",
        trials=1,
        keep_best=1,
        tags=None,
        settings=None,
        **created,
    ):
        self.folder = SweepFolder(Path(root), name)
        if not self.folder.exists:
            self.folder.create({"sweep": settings or {"name": name}})
            self.add(Created(uuid4().hex, name, metric, mode, trials, keep_best, **created))
        self.add(SessionStarted(1, tags or {}))

    @property
    def trials(self):
        return self.folder.state().trials

    def add(self, event):
        return self.folder.log.append(event)

    def evaluate(self, trial, images, value, checkpoint=None, **values):
        """An evaluation, and the folder of its checkpoint."""
        name = None if checkpoint is None else self.store(trial, images, checkpoint)
        super().evaluate(trial, images, value, name, **values)

    def store(self, trial, images, folder):
        """Store a checkpoint and keep its pictures, as workers and driver do; its name."""
        name = checkpoint_name(trial, images)
        store(Path(folder), checkpoint_place(self.folder.root, name))
        self.folder.keep_pictures(trial, images, name)
        return name

    def file(self, status="finished"):
        """Close, and bring MLflow up to date."""
        from gensweep.tracking.sync import sync

        self.close(status)
        assert sync(self.folder)
        return self.folder
