"""The training loop: yields events and leaves it to the caller what to do about them.

Everything random depends on the seed and the position in the stream of images, so nothing needs to be stored to resume,
and the number of workers does not matter.  Only dropout draws from torch's global generator, which is seeded in
each step from (seed, position, rank): its masks do depend on the number of workers.
"""

from __future__ import annotations

import hashlib
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from gensweep.data.loader import Loader
from gensweep.errors import GensweepError, ParameterError
from gensweep.families.family import FAMILIES, Annealed, Batch, Family, Loss, ReadsBack
from gensweep.nn.precision import mixed_precision
from gensweep.noise import Noise
from gensweep.training.compilation import begin_step, compiled
from gensweep.training.device import place, synchronised_time
from gensweep.training.distributed import ALONE, Workers, average_gradients, wrapped
from gensweep.training.ema import MAIN_AVERAGE, Ema, averages
from gensweep.training.loss_sums import LossSums
from gensweep.training.settings import TrainingSettings

#: How often losses are logged in a training that does not say.
LOSSES_LOGGED = 50
#: Steps before the pace of a training is measured: the first ones allocate and compile.
WARM_UP_STEPS = 3
#: Share of a training in which its pace is measured, and the seconds that this takes at most.
PACE_SHARE = 0.05
MAX_PACE_SECONDS = 20.0
#: Seconds between two looks whether something is wanted of a training between its events.
PULSE_SECONDS = 1.0


class Progress(NamedTuple):
    """Losses and signals by name, averaged over all workers and the images since the last of these events.

    An evaluation may be `due`; it is the `last` if the budget is used up.
    """

    images: int
    losses: dict[str, float]
    signals: dict[str, float]
    images_per_second: float
    due: bool = False
    last: bool = False


class Learner:
    """A family in training: networks on their device, optimizers, average weights, and the position reached.

    `images` counts training images over all workers and `seconds` the time spent on them; the losses of the family
    recur after `period` steps, once one step has been taken.
    """

    def __init__(
        self,
        family: Family,
        training: TrainingSettings,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        workers: Workers = ALONE,
    ) -> None:
        self.family, self.training, self.seed = family, training, seed
        self.device, self.workers = torch.device(device), workers
        if training.batch_size < workers.world * training.accumulation:
            times = f" times {training.accumulation} parts (accumulation)" if training.accumulation > 1 else ""
            needed = f"{workers.world} workers{times}"
            message = f"{training.batch_size} is less than the {needed}; each needs at least one image"
            raise ParameterError("batch_size", message)
        for network in family.networks.values():
            place(network, self.device, training.precision, training.memory_format).train()
        for memory in family.memories.values():
            memory.to(self.device)
        self.networks = {name: compiled(each, training.compilation) for name, each in family.networks.items()}
        if training.accumulation == 1:
            self.networks = {name: wrapped(network, self.workers) for name, network in self.networks.items()}
        self.optimizers = family.optimizers()
        self.rates = {name: [g["lr"] for g in optimizer.param_groups] for name, optimizer in self.optimizers.items()}
        self.averages = averages(family.networks[family.sampled], training.ema_half_life, training.ema_factors)
        self.images, self.seconds, self.period = 0, 0.0, 1
        self.sums = LossSums()

    @property
    def ema(self) -> Ema | None:
        """The average that draws samples, if there is one."""
        return self.averages.get(MAIN_AVERAGE)

    @property
    def sampler(self) -> nn.Module:
        """The network that draws samples: averaged weights, or the raw ones if there is no average."""
        return self.family.networks[self.family.sampled] if self.ema is None else self.ema.network

    def autocast(self) -> torch.autocast:
        """The precision of the networks, as a context."""
        return mixed_precision(self.training.precision, self.device)

    def step(self, loader: Loader) -> None:
        """Train on one batch; the host only tells the device what to do, and waits for nothing."""
        size, (rank, world) = self.training.batch_size, self.workers
        torch.manual_seed(_dropout_seed(self.seed, self.images, rank))
        self._set_rates(self.images + size)
        if self.training.compilation != "none":
            begin_step()
        turns = []
        for part in range(self.training.accumulation):
            # Ranks share each part, so that parts follow each other in the stream for any number of workers.
            start, stop = (size * end // self.training.accumulation for end in (part, part + 1))
            drawn = loader.batch(self.images + start, stop - start, rank, world)
            noise, whole = Noise(self.seed, drawn.positions), partial(loader.batch, self.images, size)
            batch = Batch(
                drawn.images, drawn.labels, noise, size, self.images // size, whole, self.training.accumulation
            )
            # Gradients are averaged over ranks and added up over parts, which is right for equal shares only.
            turns.append((self.family.losses(self.networks, batch), len(batch.labels) * world / size))
        while self._turn(turns):
            pass
        self.images += size
        self.sums.images += size
        for average in self.averages.values():
            average.update(self.family.networks[self.family.sampled], self.images, size)

    def _turn(self, turns: list[tuple[Iterator[Loss], float]]) -> bool:
        """Send the next loss of every part of the batch backward, then update its network; False after the last."""
        loss = None
        for losses, share in turns:
            with self.autocast():
                loss = next(losses, None)
            if loss is None:
                continue
            torch.autograd.backward(loss.value * share)
            self.sums.add(loss, share)
        if loss is None:
            return False
        self.sums.counts.update([loss.name, *loss.signals])
        self.period = math.lcm(self.period, loss.every)
        if loss.update:
            self._update(loss.network)
        return True

    def time(self) -> float:
        """Seconds on a clock, once the device is done with all steps; what follows the weights is read then too."""
        now = synchronised_time(self.device)
        if isinstance(self.family, ReadsBack):
            self.family.read_back()
        return now

    def rest(self, seconds: float) -> None:
        """Count so many seconds of training since this or `flush` was called last."""
        self.seconds += seconds
        self.sums.seconds += seconds

    def flush(self, seconds: float) -> Progress:
        """Losses since the last call; `seconds` are those of training since the last call or `rest`.

        All ranks call it together.  Raises GensweepError if a loss was not finite.
        """
        losses, signals = self.sums.means(self.workers)
        for name, value in losses.items():
            if not math.isfinite(value):
                raise GensweepError(
                    f"{FAMILIES.kind_of(self.family)}: the loss {name!r} became {value} before {self.images:,} images; "
                    "lower the learning rate, clip gradients, or use precision float32"
                )
        self.rest(seconds)
        progress = Progress(self.images, losses, signals, self.sums.images / max(self.sums.seconds, 1e-9))
        self.sums = LossSums()
        return progress

    def _set_rates(self, images: int) -> None:
        factor = self.family.rate_schedule(images)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.rates[name], strict=True):
                group["lr"] = rate * factor
        if isinstance(self.family, Annealed):
            self.family.anneal(self.optimizers, images)

    def _update(self, name: str) -> None:
        if self.training.accumulation > 1:
            average_gradients(self.family.networks[name], self.workers)
        if self.family.clip is not None:
            nn.utils.clip_grad_norm_(self.family.networks[name].parameters(), self.family.clip)
        self.optimizers[name].step()
        self.optimizers[name].zero_grad(set_to_none=True)


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
    started, elapsed, steps, next_look = learner.time(), 0.0, 0, WARM_UP_STEPS
    warm, images_when_warm = 0.0, 0
    while learner.images < training.images and elapsed < seconds:
        learner.step(loader)
        after_step()
        steps += 1
        if steps < next_look and learner.images < training.images:
            continue
        elapsed = float(workers.max(torch.tensor(learner.time() - started, device=learner.device)))
        measured = steps - WARM_UP_STEPS
        whole_periods = measured % learner.period == 0
        if measured == 0:
            warm, images_when_warm = elapsed, learner.images
        elif whole_periods and elapsed - warm >= window:
            break
        # A look makes the device wait: the next one comes after half of what is left, as far as that is known.
        left = max(0.0, measured * (window / max(elapsed - warm, 1e-9) - 1))
        periods = measured // learner.period + 1 + int(min(left / 2, measured) / learner.period)
        # A period may take longer than all of the training has.
        in_time = int(steps * (seconds / max(elapsed, 1e-9) - 1) / 2)
        next_look = min(WARM_UP_STEPS + periods * learner.period, steps + max(1, in_time))
    pace = (learner.images - images_when_warm) / max(elapsed - warm, 1e-9)
    batches = int(pace * max(0.0, seconds - elapsed)) // training.batch_size
    length = min(training.images, learner.images + batches * training.batch_size)
    learner.training = replace(training, images=length)
    return learner.flush(elapsed)


def train(
    learner: Learner,
    loader: Loader,
    rungs: Sequence[int] = (),
    at_rest: Callable[[], None] = lambda: None,
    after_step: Callable[[], None] = lambda: None,
) -> Iterator[Progress]:
    """Train from where the learner stands to its last image, rounded up to whole batches.

    Yields at each multiple of `log_every` images, and where an evaluation is due: at the rungs, which ascend, and at
    the end.  Between them, about once a second, it calls `at_rest`, after the same step on all ranks; the time of
    either is not counted.  `after_step` is called after each step.  Raises GensweepError for a loss that is not finite.
    """
    length = learner.training.images
    log_every = learner.training.log_every or max(1, length // LOSSES_LOGGED)
    pulse = _Pulse(learner)
    started = learner.time()
    while learner.images < length:
        before = learner.images
        learner.step(loader)
        after_step()
        last = learner.images >= length
        beat = pulse.beats()
        due = last or bisect_right(rungs, before) < bisect_right(rungs, learner.images)
        if due or _crossed(before, learner.images, log_every):
            yield learner.flush(learner.time() - started)._replace(due=due, last=last)
            started = learner.time()
        if beat and not due:
            learner.rest(learner.time() - started)
            at_rest()
            started = learner.time()


class _Pulse:
    """Finds out about how many steps take a second, and says when so many were taken; all ranks ask together."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._left = self._steps = 1
        self._since = time.perf_counter()

    def beats(self) -> bool:
        self._left -= 1
        if self._left > 0:
            return False
        elapsed = time.perf_counter() - self._since
        expected = self._steps * PULSE_SECONDS / max(elapsed, 1e-9)
        # The first steps are slow or fast, so their number grows slowly.
        steps = torch.tensor(max(1, int(min(expected, 2 * self._steps))), device=self._learner.device)
        self._left = self._steps = int(self._learner.workers.max(steps))
        self._since = time.perf_counter()
        return True


def _crossed(before: int, after: int, every: int) -> bool:
    return after // every > before // every


def _dropout_seed(seed: int, position: int, rank: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{position}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
