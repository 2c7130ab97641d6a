"""What `auto` means in a sweep: who is asked, and what is kept; the times are made up."""

from __future__ import annotations

import json

import pytest

from gensweep.config import checked_sweep
from gensweep.sweep import auto_formats
from gensweep.sweep.auto_formats import with_formats
from gensweep.training.fastest_format import FORMATS, FormatTimes

#: Half precision is twice as fast, however the memory is laid out.
TIMES = FormatTimes(
    {form: 1.0 if form.precision == "bfloat16" else 2.0 for form in FORMATS}, {"float32": 3.0, "bfloat16": 2.0}
)


def sweep_of(resources=None, training=None, family=None):
    base = {"data": {"kind": "digits"}, "family": {"kind": "diffusion"} | (family or {}), "training": training or {}}
    return checked_sweep({"name": "a", "base": base, "resources": resources or {}})


@pytest.fixture
def asked(monkeypatch):
    """The calls for a worker's times: resources, trials, images of each, threads, GPU."""
    calls = []

    def run_as_worker(resources, work, trials, few, *more):
        calls.append((resources, trials, few, *more))
        return [TIMES for _ in trials]

    monkeypatch.setattr(auto_formats, "run_as_worker", run_as_worker)
    return calls


def test_each_family_is_timed_by_its_first_trial_as_a_worker_would(asked):
    sweep = sweep_of(resources={"cpus_per_worker": 2.0})
    large, small = (sweep.trial({"network.width": width}) for width in (24, 16))
    found, lines = with_formats(sweep, [large, small])
    ((resources, trials, few, threads, gpu),) = asked
    assert (resources, trials, threads, gpu) == (sweep.resources, [large], 2, False)
    assert len(few[0]) == 64
    assert lines == [
        "diffusion trains in bfloat16, channels_last (times of the others: float32 channels_last 2.00, "
        "float32 contiguous 2.00, bfloat16 contiguous 1.00)",
        "diffusion draws samples in bfloat16 (float32 1.50)",
    ]
    values = found.trial({"network.width": 16}).flat()
    assert values["training.precision"] == values["family.sampling_precision"] == "bfloat16"
    assert values["training.memory_format"] == "channels_last"


def test_what_was_measured_is_kept_with_the_sweep_and_not_measured_again(asked):
    sweep = sweep_of()
    found, _ = with_formats(sweep, [sweep.trial()])
    again = checked_sweep(json.loads(json.dumps(found.as_dict())))
    assert again == found
    assert with_formats(again, [again.trial()]) == (again, [])
    assert len(asked) == 1


def test_a_sweep_that_leaves_nothing_open_is_not_measured(asked):
    training = {"precision": "float32", "memory_format": "contiguous"}
    sweep = sweep_of(training=training, family={"sampling_precision": "bfloat16"})
    assert with_formats(sweep, [sweep.trial()]) == (sweep, [])
    assert asked == []


def test_only_what_is_left_open_is_told(asked):
    sweep = sweep_of(training={"precision": "float32", "memory_format": "contiguous"})
    _, lines = with_formats(sweep, [sweep.trial()])
    assert lines == ["diffusion draws samples in bfloat16 (float32 1.50)"]
    sweep = sweep_of(family={"sampling_precision": "float32"})
    _, (line,) = with_formats(sweep, [sweep.trial()])
    assert line.startswith("diffusion trains in bfloat16, channels_last")
