"""Ranges of the next sweep; that what is written can be run is in test_plan.py."""

from hypothesis import given
from hypothesis import strategies as st

from gensweep.config.ranges import Range
from gensweep.config.sweep_checks import checked_sweep
from gensweep.extras.plan.next_sweep import NARROWED_PART, NARROWING, narrowed_range, narrowed_ranges


@given(st.data(), st.booleans(), st.sampled_from([None, 1, 8, 16]))
def test_whole_numbers_stay_whole_and_on_their_steps(data, log, step):
    low = data.draw(st.integers(1, 64))
    count = data.draw(st.integers(0, 40))
    high = low + (step or 1) * count
    value = low + (step or 1) * data.draw(st.integers(0, count))
    narrow = narrowed_range(Range("a", "a", low, high, step, log, True), value)
    assert all(isinstance(end, int) and (end - low) % (step or 1) == 0 for end in narrow)
    assert low <= narrow[0] <= value <= narrow[1] <= high


@given(st.floats(1e-6, 1), st.floats(1.5, 1e4), st.floats(0, 1), st.booleans())
def test_numbers_lie_around_the_value_within_the_former_range(low, factor, share, log):
    high = low * factor
    value = low * factor**share if log else low + share * (high - low)
    narrow = narrowed_range(Range("a", "a", low, high, None, log, False), value)
    assert low <= narrow[0] <= value * (1 + 1e-2)
    assert value * (1 - 1e-2) <= narrow[1] <= high
    if log:
        assert narrow[1] / narrow[0] <= 1.02 * NARROWING**2
    else:
        assert narrow[1] - narrow[0] <= NARROWED_PART * (high - low) + 0.02 * high


def test_a_range_is_that_of_the_branch_which_the_best_trial_took():
    rates = {"diffusion": [1e-4, 1e-3], "flow": [4e-4, 1e-2]}
    branches = [
        {"kind": kind, "optimizer": {"learning_rate": {"float": rate, "log": True}}} for kind, rate in rates.items()
    ]
    tree = {
        "name": "a",
        "objective": {"metric": "fd", "mode": "min"},
        "budget": {"flops": 1e12},
        "search": {"trials": 8},
    }
    tree |= {"base": {"data": {"kind": "digits"}, "network": {"kind": "unet", "width": 16}}}
    sweep = checked_sweep(tree | {"space": {"family": {"choice": branches}}})
    best = {"family.kind": "diffusion", "optimizer.learning_rate": 3e-4}
    assert dict(narrowed_ranges(sweep, best)) == {"optimizer.learning_rate": {"float": [1.5e-4, 6e-4], "log": True}}
