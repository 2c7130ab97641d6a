"""Settings that are written down, as points of a space."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensweep.config.ranges import point_of
from gensweep.config.search_space import parse_space
from gensweep.config.tree import clone
from gensweep.config.trial_config import sections_by_family
from gensweep.search.space import sample, suggest

SPACE = {
    "network": {
        "choice": [
            {"kind": "unet", "width": {"int": [64, 128], "step": 32}, "multipliers": {"choice": [[1, 2, 2], [1, 2]]}},
            {"kind": "cnn", "width": {"int": [16, 32], "step": 8}},
        ]
    },
    "diffusion.schedule": {"choice": [{"kind": "linear", "beta_end": {"float": [0.01, 0.04]}}, {"kind": "cosine"}]},
    "optimizer.learning_rate": {"float": [1e-4, 1e-2], "log": True},
    "training.batch_size": 64,
    "training.accumulation": {"int": [1, 9]},
    "optimizer.warmup": {"int": [100, 1000], "step": 100},
    "training.ema_half_life": {"int": [10, 1000], "log": True},
    "network.dropout": {"float": [0.0, 0.5]},
}
NODES = parse_space(clone(SPACE), sections_by_family())[0]


def there_and_back(nodes, seed):
    """A trial of a space, the point that it is, and the trial that this gives."""
    from optuna.trial import FixedTrial

    settings = sample(nodes, seed)
    point = point_of(nodes, settings)
    assert (point.problems, point.missing) == ([], [])
    return settings, point, suggest(nodes, FixedTrial(point.params))


@given(seed=st.integers(0, 2**16))
def test_a_trial_of_the_space_comes_back_as_the_point_that_gives_it(seed):
    settings, point, drawn = there_and_back(NODES, seed)
    kinds = {"network.kind": settings["network.kind"], "diffusion.schedule.kind": settings["diffusion.schedule.kind"]}
    assert kinds.items() <= {name.partition("@")[0]: value for name, value in point.params.items()}.items()
    assert drawn == settings


TWINS = {
    "network": {
        "choice": [
            {"kind": "cnn", "width": 8, "depth": 3},
            {"kind": "cnn", "width": 16, "depth": 3, "dropout": {"float": [0.0, 0.5]}},
            {"kind": "cnn", "width": 16, "depth": 5},
        ]
    },
}
TWIN_NODES = parse_space(clone(TWINS), sections_by_family())[0]


def test_a_value_fixed_otherwise_in_each_branch_is_outside():
    point = point_of(TWIN_NODES, {"network": {"kind": "cnn", "width": 32}})
    assert point.problems == [("network.width", "32 conflicts with the other settings of this trial")]
    one = parse_space(clone({"network": {"choice": TWINS["network"]["choice"][1:]}}), sections_by_family())[0]
    assert point_of(one, {"network": {"kind": "cnn", "width": 32, "depth": 3}}).problems == []


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"network": {"kind": "unet", "width": 48}}, ("network.width", "48 is not within 64 .. 128")),
        ({"network.kind": "cnn", "network.width": 20}, ("network.width", "20 is no step of 8 above 16")),
        ({"network.kind": "dit"}, ("network.kind", "'dit' is not in the space (known: unet, cnn)")),
        ({"optimizer.learning_rate": "fast"}, ("optimizer.learning_rate", "'fast' is not a number")),
        (
            {"network": {"kind": "unet", "multipliers": [4]}},
            ("network.multipliers", "[4] is not one of [1, 2, 2], [1, 2]"),
        ),
    ],
)
def test_what_lies_outside_of_the_space_is_told_by_key(settings, problem):
    assert point_of(NODES, settings).problems == [problem]


def test_what_is_left_out_is_missing_and_drawn():
    point = point_of(NODES, {"network.kind": "cnn", "training.batch_size": 64})
    assert point.missing[:3] == ["network.width", "diffusion.schedule.kind", "optimizer.learning_rate"]
    assert list(point.params.values()) == ["cnn"]
