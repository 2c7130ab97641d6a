"""The speed of training steps: how long one takes, how many fit in a time, and how many take about a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from gensweep.data.loader import Loader
from gensweep.training.device import synchronised_time
from gensweep.training.loop import Learner, Progress

#: Steps before the pace of a training is measured: the first ones allocate and compile.
WARM_UP_STEPS = 3
#: Share of a training in which its pace is measured, and the seconds that this takes at most.
PACE_SHARE = 0.05
MAX_PACE_SECONDS = 20.0
#: Training steps that are timed together, at most, for losses that do not come in every step.
MAX_TIMED_STEPS = 16
#: Seconds after which the timing ends, and repetitions at most.
TIMING_SECONDS, MAX_REPETITIONS = 1.0, 20
#: Seconds between two times that a `Ticker` is due.
TICK_SECONDS = 1.0


def seconds_per_image(learner: Learner, loader: Loader) -> float:
    """Seconds for one training image: the fastest of several repetitions.  The learner moves on.

    The first repetition allocates memory, and counts only if it is the only one.
    """
    found, spent = list[float](), 0.0
    learner.step(loader)  # which finds how many steps make a period
    steps = min(learner.period, MAX_TIMED_STEPS)
    while len(found) < MAX_REPETITIONS and spent < TIMING_SECONDS:
        started = synchronised_time(learner.device)
        for _ in range(steps):
            learner.step(loader)
        found.append(synchronised_time(learner.device) - started)
        spent += found[-1]
    return min(found[1:] or found) / (steps * learner.training.batch_size)


def set_pace(learner: Learner, loader: Loader, after_step: Callable[[], None] = lambda: None) -> Progress:
    """Train for the first seconds of a training that is bounded in time, and settle after how many images it ends.

    The number replaces `learner.training.images`, which bounds it; all ranks call this together and agree.  Losses that
    do not come in every step come as often as in the average step, unless the time is up before they recur.
    Raises GensweepError for a loss that is not finite.
    """
    training, workers = learner.training, learner.workers
    assert training.device_seconds is not None
    seconds = training.device_seconds / workers.world
    window = min(PACE_SHARE * seconds, MAX_PACE_SECONDS)
    started, elapsed, done, steps = synchronised_time(learner.device), 0.0, 0, WARM_UP_STEPS
    warm, images_when_warm, periods = 0.0, 0, 1
    while learner.images < training.images and elapsed < seconds:
        for _ in range(steps):
            if learner.images < training.images:
                learner.step(loader)
                after_step()
        done += steps
        now = torch.tensor(synchronised_time(learner.device) - started, device=learner.device)
        elapsed = float(workers.max(now))
        if done == WARM_UP_STEPS:
            warm, images_when_warm = elapsed, learner.images
        elif done == WARM_UP_STEPS + periods * learner.period:
            if elapsed - warm >= window:
                break
            periods *= 2  # as a look at the clock makes the device wait
        in_half_of_the_time = int(done * (seconds / max(elapsed, 1e-9) - 1) / 2)
        steps = max(1, min(WARM_UP_STEPS + periods * learner.period - done, in_half_of_the_time))
    pace = (learner.images - images_when_warm) / max(elapsed - warm, 1e-9)
    batches = int(pace * max(0.0, seconds - elapsed)) // training.batch_size
    length = min(training.images, learner.images + batches * training.batch_size)
    learner.training = replace(training, images=length)
    learner.count_seconds(elapsed)
    return learner.flush()


class Ticker:
    """Says about once a second that it is time, after the same step on all ranks, which ask together."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._left = self._steps = 1
        self._since = time.perf_counter()

    def is_due(self) -> bool:
        """True after about a second of steps; call it once after each step."""
        self._left -= 1
        if self._left > 0:
            return False
        elapsed = time.perf_counter() - self._since
        expected = self._steps * TICK_SECONDS / max(elapsed, 1e-9)
        # The first steps are slow or fast, so their number grows slowly.
        steps = torch.tensor(max(1, int(min(expected, 2 * self._steps))), device=self._learner.device)
        self._left = self._steps = int(self._learner.workers.max(steps))
        self._since = time.perf_counter()
        return True
