"""The driver's session, fed by hand: no Ray, no processes."""

from __future__ import annotations

from logged import IDENTITY, evaluation
from trivial_sweeps import Memory, plan

from gensweep.search.session import Session
from gensweep.sweep.events import Evaluated, Progressed, Started
from gensweep.sweep.folder import SweepFolder


class Driver:
    """A session and what is around it."""

    def __init__(self, root, *, trials=3, observers=None, name="a", mode="min", **settings):
        self.folder = SweepFolder(root, name)
        if not self.folder.exists:
            self.folder.create({"sweep": {}})
        self.memory = Memory()
        asked = {key: settings.pop(key) for key in ("more_trials", "repeats", "retry", "deadline") if key in settings}
        made = plan(name, trials=trials, mode=mode, **settings)
        observers = observers or [self.memory]
        self.session = Session(made, self.folder, observers, concurrent=1, **asked)
        self.names = {}
        self.mode = mode
        self.store = self.folder.path / "checkpoints"

    @property
    def state(self):
        return self.session.state

    @property
    def told(self):
        """What the sampler knows."""
        return self.session.study.trials

    def begin(self, tune_id="x"):
        asked = self.session.next_trial()
        self.names[tune_id] = asked.trial
        self.session.note(Started(asked.trial))
        return asked

    def progress(self, images, *, tune_id="x", **numbers):
        self.session.reported(Progressed(self.names[tune_id], images, numbers))

    def evaluate(self, images, value, *, tune_id="x", identity=IDENTITY, cost=None):
        """An evaluation, whose checkpoint really is on disk; whether the trial is to stop."""
        trial = self.names[tune_id]
        folder = self.store / trial / f"{images:012d}"
        folder.mkdir(parents=True, exist_ok=True)
        report = evaluation(images, value, identity=identity, mode=self.mode, cost=cost)
        return self.session.reported(Evaluated(trial, report, f"{trial}/{folder.name}"))

    def end(self, tune_id="x", **result):
        self.session.ended(self.names[tune_id], result)

    def kept(self, trial="t0000"):
        return sorted(int(p.name) for p in (self.store / trial).iterdir())
