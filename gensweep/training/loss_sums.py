"""Losses and signals since they were last reported; a checkpoint between two reports takes them along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from gensweep.families.family import Loss
from gensweep.training.distributed import Workers

#: Before the names of what a checkpoint holds of them.
UNREPORTED = "unreported/"


class LossSums:
    """The sums on this rank, over so many `images` and `seconds` of training."""

    def __init__(self) -> None:
        self.losses: dict[str, Tensor] = {}
        self.signals: dict[str, Tensor] = {}
        self.counts: Counter[str] = Counter()
        self.images, self.seconds = 0, 0.0

    def add(self, loss: Loss, share: float) -> None:
        """A loss and its signals of a part of a batch."""
        _add(self.losses, {loss.name: loss.value.detach()}, share)
        _add(self.signals, loss.signals, share)

    def means(self, workers: Workers) -> tuple[dict[str, float], dict[str, float]]:
        """Of losses and of signals, over all ranks, which call this together.

        A loss need not come in every step; its mean is over those in which it came.
        """
        sums = self.losses | self.signals
        totals = workers.sum(torch.stack([*sums.values()]).double()).tolist()
        means = {name: total / (self.counts[name] * workers.world) for name, total in zip(sums, totals, strict=True)}
        return {name: means[name] for name in self.losses}, {name: means[name] for name in self.signals}

    def state(self, workers: Workers) -> dict[str, Tensor]:
        """As tensors, with the sums of each rank; all ranks call this together.  Nothing if all was reported."""
        if not self.images:
            return {}
        state = {"images": torch.tensor(self.images), "seconds": torch.tensor(self.seconds, dtype=torch.float64)}
        for kind, sums in (("losses", self.losses), ("signals", self.signals)):
            for number, (name, value) in enumerate(sums.items()):  # whose order is that in which they are added up
                rows = value.new_zeros(workers.world)
                rows[workers.rank] = value
                state[f"{kind}/{number:03d}/{name}"] = workers.sum(rows)
                state[f"counts/{number:03d}/{name}"] = torch.tensor(self.counts[name])
        return {UNREPORTED + name: tensor for name, tensor in state.items()}

    @classmethod
    def of(cls, state: Mapping[str, Tensor], workers: Workers, device: torch.device) -> LossSums:
        """What `state` gave, also if there were more ranks, or fewer."""
        found = cls()
        for name in sorted(name for name in state if name.startswith(UNREPORTED)):
            tensor = state[name]
            kind, _, key = name.removeprefix(UNREPORTED).partition("/")
            key = key.partition("/")[2]
            match kind:
                case "counts":
                    found.counts[key] = int(tensor)
                case "losses":
                    found.losses[key] = _share_of(tensor, workers).to(device)
                case "signals":
                    found.signals[key] = _share_of(tensor, workers).to(device)
                case "images":
                    found.images = int(tensor)
                case "seconds":
                    found.seconds = float(tensor)
        return found


def _share_of(rows: Tensor, workers: Workers) -> Tensor:
    """A rank's sum: its own if there are as many ranks as before, else rank 0 has the sums of all."""
    if len(rows) == workers.world:
        return rows[workers.rank].clone()
    return rows.mean() * workers.world if workers.rank == 0 else rows.new_zeros(())


def _add(sums: dict[str, Tensor], values: Mapping[str, Tensor], share: float) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value.float() * share
