"""Settings that are written down, as points of a space."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensweep.config.points import point_of
from gensweep.config.search_space import parse_space
from gensweep.config.tree import clone
from gensweep.config.trial_config import sections_by_family
from gensweep.sweep.space import SearchSpace

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
}
NODES = parse_space(clone(SPACE), sections_by_family())[0]


@given(seed=st.integers(0, 2**16))
def test_a_trial_of_the_space_comes_back_as_the_point_that_gives_it(seed):
    space = SearchSpace(NODES)
    from optuna.trial import FixedTrial

    settings = space.sample(seed)
    point = point_of(NODES, settings)
    kinds = {"network.kind": settings["network.kind"], "diffusion.schedule.kind": settings["diffusion.schedule.kind"]}
    assert (point.problems, point.missing) == ([], [])
    assert kinds.items() <= {name.partition("@")[0]: value for name, value in point.params.items()}.items()
    assert space.suggest(FixedTrial(point.params)) == settings


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"network": {"kind": "unet", "width": 48}}, ("network.width", "48 is not within 64 .. 128")),
        ({"network.kind": "cnn", "network.width": 20}, ("network.width", "20 is no step of 8 above 16")),
        ({"network.kind": "dit"}, ("network.kind", "'dit' is not searched (known: unet, cnn)")),
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
    assert point.missing == ["network.width", "diffusion.schedule.kind", "optimizer.learning_rate"]
    assert list(point.params.values()) == ["cnn"]
