"""What a dry run says of a sweep as a whole."""

from types import SimpleNamespace

import pytest

from gensweep.config import load_sweep
from gensweep.config.sweep_config import Search
from gensweep.run.planning import Preview, format_startup
from gensweep.sweep.events import WarmStarted

SPACE = {"name": "a", "base": {"family": {"kind": "gan"}}, "space": {"network.width": {"choice": [8, 16]}}}
HOUR, NOT_TIMED = SimpleNamespace(seconds=3600.0), SimpleNamespace(seconds=None)


@pytest.mark.parametrize(
    ("search", "hours"),
    [
        ({"trials": 4}, (2.0, 2.0)),
        ({"trials": 4, "repeats": {"top": 3, "seeds": 2}}, (5.0, 5.0)),
        ({"trials": 2, "repeats": {"top": 3, "seeds": 2}}, (3.0, 3.0)),
        ({"budget": {"flops": 1e15}}, None),
    ],
)
def test_the_hours_of_a_sweep_include_trials_and_repeats(search, hours):
    sweep = load_sweep({**SPACE, "search": search})
    shown = Preview(sweep, [], [], [HOUR, NOT_TIMED], SimpleNamespace(concurrent=2), {}, [])
    assert shown.hours == hours


def test_the_price_of_a_sweep_counts_every_device():
    resources = {"price": "2.50EUR/h", "workers": 2}
    sweep = load_sweep({**SPACE, "search": {"trials": 4}, "resources": resources})
    hours = [SimpleNamespace(seconds=seconds) for seconds in (3600.0, 7200.0)]
    shown = Preview(sweep, [], [], hours, SimpleNamespace(concurrent=2), {}, [])
    assert shown.hours == (2.0, 4.0)
    assert shown.money == (2.50 * 2.0 * 2 * 2, 2.50 * 4.0 * 2 * 2)


@pytest.mark.parametrize(
    ("search", "queued", "concurrent", "words"),
    [
        ({"trials": 20}, 0, 1, "5 of 20 trials are random, then tpe_by_branch"),
        ({}, 0, 4, "8 of 20 trials are random, then tpe_by_branch"),
        ({"enqueue": [{}, {}]}, 0, 1, "3 of 20 trials are random, then tpe_by_branch"),
        ({}, 1, 1, "4 of 20 trials are random, then tpe_by_branch"),
        ({"budget": {"flops": 1e15}}, 0, 1, "10 trials are random, then tpe_by_branch"),
        ({"sampler": {"kind": "random"}}, 0, 1, "20 of 20 trials are random"),
        ({"sampler": {"kind": "gp"}}, 0, 1, "10 of 20 trials are random, then gp"),
    ],
)
def test_a_dry_run_says_how_many_trials_are_random(search, queued, concurrent, words):
    warm = [WarmStarted("earlier", [{}] * queued)]
    assert format_startup(Search.model_validate(search, strict=False), warm, concurrent) == words
