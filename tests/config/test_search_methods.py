"""Samplers and schedulers, what they can search, and queued trials."""

import re

import pytest
from demo_sweeps import BASE

from gensweep.config.search_checks import extension_problem

GRID = BASE + "search: {trials: 5, sampler: {kind: grid}}\n"


def test_a_grid_has_to_be_finite_and_large_enough(load, refused):
    small = GRID + "space: {seed: {int: [1, 5]}}\n"
    assert load(small).search.sampler.kind == "grid"
    assert "6 is more than the 5 combinations of the grid; set 5 or fewer" in refused(small, "search.trials=6")[0]
    endless = GRID + "space: {optimizer.learning_rate: {float: [0.001, 0.002]}}\n"
    assert "give every range of floats a step" in refused(endless)[0]
    stepped = GRID + "space: {optimizer.learning_rate: {float: [0.001, 0.005], step: 0.001}}\n"
    assert load(stepped).search.trials == 5


def test_grids_limit_an_extension(load):
    grid = load(GRID + "space: {seed: {int: [1, 9]}}\n")
    assert extension_problem(grid, grid.nodes(), 9) is None
    assert "makes 10 trials, more than the 9 combinations" in extension_problem(grid, grid.nodes(), 10)
    others = load(BASE + f"{LR}search: {{trials: 4}}\n")
    assert extension_problem(others, others.nodes(), 5) is None


LR = "space: {optimizer.learning_rate: {float: [1.0e-4, 1.0e-3], log: true}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{LR}search: {{sampler: {{kind: nsga2, population: 30}}, trials: 30}}", "search.sampler.population:"),
    ],
)
def test_methods_that_cannot_search_a_space_are_refused_with_what_can(text, told, refused):
    found = refused(f"{BASE}{text}\n")
    assert any(f": {told}" in problem for problem in found)
    assert all(re.match(r"s:\d+: ", problem) for problem in found)


@pytest.mark.parametrize(
    ("queued", "told"),
    [
        ("{optimizer.learning_rate: 0.1}", "search.enqueue[0].optimizer.learning_rate: 0.1 is not within 0.0001"),
        ("{optimzer.learning_rate: 5.0e-4}", "search.enqueue[0].optimzer.learning_rate:"),
    ],
)
def test_queued_trials_that_the_space_does_not_hold_are_refused(queued, told, refused):
    assert any(f": {told}" in problem for problem in refused(f"{BASE}{LR}search: {{trials: 2, enqueue: [{queued}]}}\n"))


def test_a_queued_trial_may_give_settings_that_are_not_searched(load):
    """So --set of one of them does not make the file invalid."""
    text = f"{BASE}{LR}search: {{enqueue: [{{optimizer.learning_rate: 5.0e-4, diffusion.timesteps: 100}}]}}\n"
    assert load(text, "optimizer.learning_rate=0.01").trial({}).flat()["optimizer.learning_rate"] == 0.01
