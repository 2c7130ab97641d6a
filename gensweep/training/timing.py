"""Speed of training: time per step, steps in a given time, steps per second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from gensweep.data.loader import Loader
from gensweep.training.device import synchronised_time
from gensweep.training.loop import Learner, Progress

#: Warm-up steps before timing, which allocate and compile.
WARM_UP_STEPS = 3
#: Share of a training used to measure its speed, and the limit in seconds.
PACE_SHARE = 0.05
MAX_PACE_SECONDS = 20.0
#: Most training steps to time together, for losses that are not computed in every step.
MAX_TIMED_STEPS = 16
#: Limit of the timing in seconds, and of repetitions.
TIMING_SECONDS, MAX_REPETITIONS = 1.0, 20
#: Seconds between two ticks of a `Ticker`.
TICK_SECONDS = 1.0


def seconds_per_image(learner: Learner, loader: Loader) -> float:
    """Seconds per training image: the fastest of several repetitions.  Advances the learner.

    The first repetition allocates memory, and counts only if there is no other.
    """
    found, spent = list[float](), 0.0
    learner.step(loader)  # this finds the number of steps in a period
    steps = min(learner.period, MAX_TIMED_STEPS)
    while len(found) < MAX_REPETITIONS and spent < TIMING_SECONDS:
        started = synchronised_time(learner.device)
        for _ in range(steps):
            learner.step(loader)
        found.append(synchronised_time(learner.device) - started)
        spent += found[-1]
    return min(found[1:] or found) / (steps * learner.training.batch_size)


def set_pace(learner: Learner, loader: Loader, after_step: Callable[[], None] = lambda: None) -> Progress:
    """Train for the first seconds of a time-limited training, then fix the number of images at which it ends.

    The number replaces `learner.training.images`, its upper bound; all ranks call this together and agree.  Losses that
    are not computed in every step are timed over whole periods, unless the time is up earlier.
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
            periods *= 2  # as reading the clock waits for the device
        in_half_of_the_time = int(done * (seconds / max(elapsed, 1e-9) - 1) / 2)
        steps = max(1, min(WARM_UP_STEPS + periods * learner.period - done, in_half_of_the_time))
    pace = (learner.images - images_when_warm) / max(elapsed - warm, 1e-9)
    batches = int(pace * max(0.0, seconds - elapsed)) // training.batch_size
    length = min(training.images, learner.images + batches * training.batch_size)
    learner.training = replace(training, images=length)
    learner.count_seconds(elapsed)
    return learner.flush()


class Ticker:
    """Ticks about once a second, after the same step on all ranks, which ask together."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._left = self._steps = 1
        self._since = time.perf_counter()

    def is_due(self) -> bool:
        """True about once a second; call it after each step."""
        self._left -= 1
        if self._left > 0:
            return False
        elapsed = time.perf_counter() - self._since
        expected = self._steps * TICK_SECONDS / max(elapsed, 1e-9)
        # The first steps are unusually slow or fast, so increase the number slowly.
        steps = torch.tensor(max(1, int(min(expected, 2 * self._steps))), device=self._learner.device)
        self._left = self._steps = int(self._learner.workers.max(steps))
        self._since = time.perf_counter()
        return True
