"""What a dry run says of a sweep as a whole."""

from types import SimpleNamespace

import pytest

from gensweep.config import load_sweep
from gensweep.sweep.planning import Preview

SPACE = {"name": "a", "base": {"family": {"kind": "gan"}}, "space": {"network.width": {"choice": [8, 16]}}}
HOUR = SimpleNamespace(cost=SimpleNamespace(seconds=3600.0))
NOT_TIMED = SimpleNamespace(cost=None)


@pytest.mark.parametrize(
    ("search", "hours"),
    [
        ({"trials": 4}, (2.0, 2.0)),
        ({"trials": 4, "repeats": {"top": 3, "seeds": 2}}, (5.0, 5.0)),
        ({"trials": 2, "repeats": {"top": 3, "seeds": 2}}, (3.0, 3.0)),
        ({"budget": {"flops": 1e15}}, None),
    ],
)
def test_the_hours_of_a_sweep_are_those_of_its_trials_and_of_trainings_with_other_seeds(search, hours):
    sweep = load_sweep({**SPACE, "search": search})
    shown = Preview(sweep, [], [], [HOUR, NOT_TIMED], SimpleNamespace(concurrent=2), {}, [])
    assert shown.hours == hours
