"""Samplers and schedulers, what they can search, and queued trials."""

from demo_sweeps import BASE

from gensweep.config.search_checks import extension_problem

LR = "space: {optimizer.learning_rate: {float: [1.0e-4, 1.0e-3], log: true}}\n"
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
