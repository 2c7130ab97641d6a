"""A driver whose checkpoints lie in a storage, without workers."""

from __future__ import annotations

from contextlib import contextmanager
from uuid import uuid4

from logged import evaluation
from trivial_sweeps import plan

from gensweep.search.session import Session
from gensweep.sweep.checkpoints import checkpoint_name, checkpoint_place, store
from gensweep.sweep.events import Evaluated, Started
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.storage import held_storage


class Driver:
    """A session, and the checkpoints that its workers would store."""

    def __init__(self, held, folder, scratch):
        self.held, self.folder, self.scratch = held, folder, scratch
        self.session = Session(plan(folder.name), folder, [], concurrent=1, storage=held)

    def begin(self):
        trial = self.session.next_trial()
        self.session.note(Started(trial.trial))
        return trial

    def evaluate(self, trial, images, value):
        source = self.scratch / f"{trial}-{images}"
        source.mkdir(parents=True)
        (source / "state.json").write_text(f"{trial} {images}")
        (source / "samples.png").write_bytes(b"png")
        name = checkpoint_name(trial, images)
        store(source, checkpoint_place(self.held.root, name))
        return self.session.reported(Evaluated(trial, evaluation(images, value), name))


@contextmanager
def driving(root, storage=None, name="a"):
    folder = SweepFolder(root, name)
    folder.path.mkdir(parents=True, exist_ok=True)
    with held_storage(folder, storage, {"sweep": {"name": name}}) as held:
        yield Driver(held, folder, root / "scratch" / uuid4().hex)
