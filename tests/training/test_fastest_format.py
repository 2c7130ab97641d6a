"""Which format a family's networks are computed in: how candidates are timed, and who wins."""

from __future__ import annotations

import math

import pytest
import tiny
import torch

from gensweep.training import fastest_format
from gensweep.training.fastest_format import FORMATS, Format, FormatTimes, take_turns, time_formats

CPU = torch.device("cpu")
LAST, FIRST = Format("float32", "channels_last"), Format("float32", "contiguous")
HALF = Format("bfloat16", "channels_last")


class Work:
    """Work by a clock of its own, which each candidate moves on by its seconds; its first time takes 100 times that."""

    def __init__(self, monkeypatch, **seconds):
        self.seconds, self.now, self.calls = seconds, 0.0, []
        monkeypatch.setattr(fastest_format, "_now", lambda device: self.now)

    def __call__(self, candidate):
        self.now += self.seconds[candidate] * (1 if candidate in self.calls else 100)
        self.calls.append(candidate)


def test_the_first_time_does_not_count_and_what_is_far_behind_is_left_out(monkeypatch):
    work = Work(monkeypatch, fast=1.0, near=1.25, slow=2.0)
    found = take_turns(list(work.seconds), work, CPU, patience=math.inf)
    assert found == pytest.approx({"fast": 1.0, "near": 1.25, "slow": 2.0})
    assert [work.calls.count(each) for each in ("fast", "near", "slow")] == [6, 6, 2]


def test_each_candidate_is_timed_once_warm_however_short_patience_is(monkeypatch):
    work = Work(monkeypatch, one=1.0, other=3.0)
    assert take_turns(list(work.seconds), work, CPU, patience=0.0) == pytest.approx({"one": 1.0, "other": 3.0})
    assert work.calls == ["one", "other"] * 2


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [
        ({LAST: 1.04, FIRST: 1.0, HALF: 1.02}, LAST),
        ({LAST: 1.06, FIRST: 1.0, HALF: 1.0}, FIRST),
        ({LAST: 1.06, FIRST: 1.06, HALF: 1.0}, HALF),
    ],
)
def test_fewer_digits_and_unusual_orders_must_be_clearly_faster(seconds, fastest):
    assert FormatTimes(seconds, {}).fastest == fastest
    assert FormatTimes(seconds, {"float32": 1.04, "bfloat16": 1.0}).sampling_precision == "float32"
    assert FormatTimes(seconds, {"float32": 1.06, "bfloat16": 1.0}).sampling_precision == "bfloat16"


@pytest.mark.parametrize("kind", ["diffusion", "gan"])
def test_timing_goes_through_every_format_and_leaves_the_weights_as_they_were(kind):
    family = tiny.build(kind)
    before = {name: weight.clone() for name, weight in weights_of(family)}
    found = time_formats(family, tiny.images(), CPU, most_images=4)
    assert found.training.keys() == set(FORMATS)
    assert found.sampling.keys() == ({"float32", "bfloat16"} if kind == "diffusion" else set())
    assert all(0 < seconds < math.inf for seconds in (*found.training.values(), *found.sampling.values()))
    for name, weight in weights_of(family):
        assert torch.equal(weight, before[name])
        assert weight.grad is None


def weights_of(family):
    return [
        (f"{which} {name}", weight)
        for which, network in family.networks.items()
        for name, weight in network.named_parameters()
    ]
