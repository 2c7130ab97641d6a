"""The training loop: yields after each step; the caller handles clocks, files and reports.

Randomness depends on the seed and the position in the stream of images, so resuming needs no further state and the
number of workers does not matter.  The exception is dropout, which uses torch's global generator, seeded in each step
from (seed, position, rank).
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gensweep.data.loader import Loader
from gensweep.errors import GensweepError, ParameterError
from gensweep.families.family import FAMILIES, Annealed, Batch, Family, Loss
from gensweep.nn.precision import mixed_precision
from gensweep.noise import Noise
from gensweep.training.device import compiled, place
from gensweep.training.distributed import ALONE, Workers, average_gradients, wrapped
from gensweep.training.ema import MAIN_AVERAGE, Ema, averages
from gensweep.training.settings import TrainingSettings

#: Prefix of state tensors with losses that were not reported yet.
UNREPORTED = "unreported/"
#: Default number of loss logs per training.
LOSSES_LOGGED = 50


class Progress(NamedTuple):
    """Losses and signals by name, averaged over all workers and the steps since the last event.

    An evaluation may be `due`.
    """

    images: int
    losses: dict[str, float]
    signals: dict[str, float]
    due: bool = False


class LossSums:
    """Sums of losses and signals on this rank, with the number of steps of each."""

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}
        self.signals: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()

    def add(self, loss: Loss, share: float) -> None:
        """Add a loss and its signals for a part of a batch."""
        for sums, values in ((self.losses, {loss.name: loss.value.detach()}), (self.signals, loss.signals)):
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value.float() * share

    def means(self, workers: Workers) -> tuple[dict[str, float], dict[str, float]]:
        """Mean losses and signals over all ranks and their steps; all ranks call it."""
        sums = self.losses | self.signals
        totals = workers.sum(torch.stack([*sums.values()]).double()).tolist()
        means = {name: total / (self.counts[name] * workers.world) for name, total in zip(sums, totals, strict=True)}
        return {name: means[name] for name in self.losses}, {name: means[name] for name in self.signals}

    def state(self, workers: Workers) -> dict[str, Tensor]:
        """Each sum over all ranks, with its number of steps; all ranks call it together."""
        found = dict[str, Tensor]()
        for kind, sums in (("losses", self.losses), ("signals", self.signals)):
            for name, value in sums.items():  # in the order of addition
                total = workers.sum(value.double())
                found[f"{UNREPORTED}{len(found):03d}/{kind}/{name}"] = total.new_tensor([total, self.counts[name]])
        return found

    @classmethod
    def of(cls, state: Mapping[str, Tensor], workers: Workers, device: torch.device) -> LossSums:
        """Restore the sums of a state: rank 0 gets the total, the others get 0."""
        found = cls()
        for key in sorted(key for key in state if key.startswith(UNREPORTED)):
            _, _, kind, name = key.split("/", 3)
            total, count = state[key].tolist()
            getattr(found, kind)[name] = torch.tensor(0.0 if workers.rank else total, device=device)
            found.counts[name] = int(count)
        return found


class Learner:
    """A family in training: networks on their device, optimizers, averages, and the position reached.

    `images` counts training images over all workers; `seconds`, measured by the caller, is their time, and
    `device_seconds` that time on all workers.  Losses recur after `period` steps, known after the first step.
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
        self.images, self.seconds, self.device_seconds, self.period = 0, 0.0, 0.0, 1
        self.sums = LossSums()

    @property
    def ema(self) -> Ema | None:
        """The average used for sampling, or None."""
        return self.averages.get(MAIN_AVERAGE)

    @property
    def sampler(self) -> nn.Module:
        """The network used for sampling: averaged weights, or raw ones without an average."""
        return self.family.networks[self.family.sampled] if self.ema is None else self.ema.network

    def autocast(self) -> torch.autocast:
        """Context with the precision of the networks."""
        return mixed_precision(self.training.precision, self.device)

    def step(self, loader: Loader) -> None:
        """Train on one batch without waiting for the device."""
        size, (rank, world) = self.training.batch_size, self.workers
        torch.manual_seed(_dropout_seed(self.seed, self.images, rank))
        self._set_rates(self.images + size)
        if self.training.compilation != "none":
            # CUDA graphs may overwrite outputs of compiled networks from the step before.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        turns = []
        for part in range(self.training.accumulation):
            # Ranks share each part, so the order of parts in the stream does not depend on the number of workers.
            start, stop = (size * end // self.training.accumulation for end in (part, part + 1))
            drawn = loader.batch(self.images + start, stop - start, rank, world)
            noise, whole = Noise(self.seed, drawn.positions), partial(loader.batch, self.images, size)
            batch = Batch(
                drawn.images, drawn.labels, noise, size, self.images // size, whole, self.training.accumulation
            )
            # Averaging over ranks and summing over parts is right only for equal shares.
            turns.append((self.family.losses(self.networks, batch), len(batch.labels) * world / size))
        while self._backward_step(turns):
            pass
        self.images += size
        for average in self.averages.values():
            average.update(self.family.networks[self.family.sampled], self.images, size)

    def _backward_step(self, turns: list[tuple[Iterator[Loss], float]]) -> bool:
        """Backpropagate the next loss for every part of the batch, then update its network; False after the last."""
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

    def count_seconds(self, seconds: float) -> None:
        """Add seconds of training on this worker."""
        self.seconds += seconds
        self.device_seconds += seconds * self.workers.world

    def flush(self) -> Progress:
        """Mean losses since the last call; all ranks call it together.  Raises GensweepError if one is not finite."""
        losses, signals = self.sums.means(self.workers)
        for name, value in losses.items():
            if not math.isfinite(value):
                raise GensweepError(
                    f"{FAMILIES.kind_of(self.family)}: the loss {name!r} became {value} before {self.images:,} images; "
                    "lower the learning rate, clip gradients, or use precision float32"
                )
        self.sums = LossSums()
        return Progress(self.images, losses, signals)


def train(learner: Learner, loader: Loader, rungs: Sequence[int] = ()) -> Iterator[Progress | None]:
    """Train to the learner's last image, rounded up to whole batches; yield after each step.

    Yields progress at each multiple of `log_every` images and at evaluations, which are due at the ascending rungs and
    at the end; else None.  Raises GensweepError for a loss that is not finite.
    """
    length = learner.training.images
    log_every = learner.training.log_every or max(1, length // LOSSES_LOGGED)
    while learner.images < length:
        before = learner.images
        learner.step(loader)
        due = learner.images >= length or bisect_right(rungs, before) < bisect_right(rungs, learner.images)
        logged = due or learner.images // log_every > before // log_every
        yield learner.flush()._replace(due=due) if logged else None


def _dropout_seed(seed: int, position: int, rank: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{position}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
