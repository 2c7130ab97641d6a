"""Losses that were not reported yet: a checkpoint takes them along, whatever the number of workers after it."""

from __future__ import annotations

import pytest
import torch
import torch.distributed
from hypothesis import given
from hypothesis import strategies as st

from gensweep.families.family import Loss
from gensweep.training.distributed import ALONE, Workers
from gensweep.training.loss_sums import LossSums

CPU = torch.device("cpu")


def summed(values):
    sums = LossSums()
    for value in values:
        loss = Loss("network", torch.tensor(value), "main", signals={"half": torch.tensor(value / 2)})
        sums.add(loss, 1.0)
        sums.counts.update(["main", "half"])
        sums.images, sums.seconds = sums.images + 8, sums.seconds + 0.5
    return sums


@given(st.lists(st.tuples(st.floats(-4, 4, width=32), st.floats(-4, 4, width=32)), min_size=1, max_size=5))
def test_sums_of_two_ranks_come_back_to_them_and_their_mean_to_one(pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "all_reduce", lambda *_, **__: None)
        ranks = [summed([pair[rank] for pair in pairs]) for rank in (0, 1)]
        one, other = (ranks[rank].state(Workers(rank, 2)) for rank in (0, 1))
    state = {name: tensor + other[name] if tensor.ndim else tensor for name, tensor in one.items()}
    for rank in (0, 1):
        found = LossSums.of(state, Workers(rank, 2), CPU)
        assert (found.losses, found.signals) == (ranks[rank].losses, ranks[rank].signals)
        assert (found.counts, found.images, found.seconds) == (
            ranks[rank].counts,
            ranks[rank].images,
            ranks[rank].seconds,
        )
    losses, signals = LossSums.of(state, ALONE, CPU).means(ALONE)
    mean = sum(sum(pair) / 2 for pair in pairs) / len(pairs)
    assert losses["main"] == pytest.approx(mean, abs=1e-5)
    assert signals["half"] == pytest.approx(mean / 2, abs=1e-5)


def test_what_was_reported_is_not_saved():
    assert LossSums().state(ALONE) == {}
    assert LossSums.of({"networks/a/weight": torch.ones(2)}, ALONE, CPU).images == 0
