"""A real trial that hangs: in its data, in its network as samples are drawn, as it is scored, as it is saved."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import tiny
import torch
from list_reporter import ListReporter

from gensweep.data.loader import Loader
from gensweep.metrics.metric import FrechetDistance
from gensweep.nn.unet import UNet
from gensweep.sweep.heartbeat import Heartbeat
from gensweep.sweep.stalls import StallWatch
from gensweep.training import trial as trial_module
from gensweep.training.reporter import WorkerContext
from gensweep.training.trial import run_trial

pytestmark = pytest.mark.trains

TIMEOUT = 60.0


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Watched(ListReporter):
    """Reports to a heartbeat, as a worker does."""

    def __init__(self, heartbeat):
        super().__init__()
        self.heartbeat = heartbeat

    def moved(self, phase=None):
        self.heartbeat.moved(phase)


class Hang:
    """Stands in for a function that hangs at one of its calls in a phase, until it is let go."""

    def __init__(self, monkeypatch, owner, name, call, in_phase):
        self.function, self.calls_left, self.in_phase = getattr(owner, name), call, in_phase
        self.reached, self.over = threading.Event(), threading.Event()
        monkeypatch.setattr(owner, name, lambda *values, **named: self(*values, **named))

    def __call__(self, *values, **named):
        self.calls_left -= self.in_phase()
        if self.calls_left == 0 and not self.reached.is_set():
            self.reached.set()
            self.over.wait()
        return self.function(*values, **named)


@pytest.mark.parametrize(
    ("owner", "name", "call", "phase", "timeouts"),
    [
        (Loader, "batch", 3, "training", 1),
        (UNet, "forward", 3, "drawing samples", 1),
        (FrechetDistance, "compute", 2, "scoring", 10),
        (trial_module, "save", 2, "saving", 20),
    ],
)
def test_a_trial_is_found_to_hang_wherever_it_does_and_goes_on_once_it_is_let_go(
    tmp_path, monkeypatch, owner, name, call, phase, timeouts
):
    clock = Clock()
    watch = StallWatch(clock)
    heartbeat = Heartbeat(watch.hear, rank=0, node="n", meetings=int, timeout=TIMEOUT, clock=clock)
    heartbeat.begin(TIMEOUT)
    reporter = Watched(heartbeat)
    learner, evaluator = tiny.learner("diffusion"), replace(tiny.evaluator(), images=tiny.images())
    context = WorkerContext(0, 1, torch.device("cpu"), tmp_path)
    hang = Hang(monkeypatch, owner, name, call, lambda: heartbeat.sign().phase == phase)
    training = threading.Thread(
        target=run_trial, args=(learner, evaluator, context, reporter), kwargs={"metadata": {}}, daemon=True
    )
    training.start()
    assert hang.reached.wait(120)
    for _ in range(int(timeouts * TIMEOUT)):
        watch.hear(heartbeat.sign())
        assert watch.stuck == []
        clock.now += 1
    watch.hear(heartbeat.sign())
    clock.now += 1
    (stuck,) = watch.stuck
    assert (stuck.sign.phase, stuck.silent) == (phase, False)
    hang.over.set()
    training.join(120)
    assert not training.is_alive()
    watch.hear(heartbeat.sign())
    assert watch.stuck == []
    assert reporter.checkpoints[-1][0].images == learner.training.images
