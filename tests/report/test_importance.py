import random
from dataclasses import replace

import pytest
import recorded
from logged import LoggedSweep
from made_up import IDENTITY

from gensweep.config import checked_sweep
from gensweep.report.importance import parameter_importance
from gensweep.results import Score


def sweep(count, **values):
    """A sweep in which `strong` decides nearly everything."""
    rng, trials = random.Random(0), []
    for number in range(count):
        params = {"strong": rng.uniform(0, 1), "weak": rng.choice(["a", "b"]), "same": 3, "whole": rng.randint(1, 9)}
        value = 100 * params["strong"] + (params["weak"] == "a") + 0.1 * params["whole"]
        trials.append(recorded.trial("s", number, value, params=params))
    return recorded.sweep("s", trials, **values)


def test_the_parameter_that_decides_comes_first():
    found = parameter_importance(sweep(30))
    assert next(iter(found)) == "strong"
    assert found["strong"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert "same" not in found


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_trials_tell_nothing(count):
    assert parameter_importance(sweep(count)) == {}


def test_equal_scores_tell_nothing():
    made = sweep(8)
    level = tuple(replace(trial, objective=Score(1.0, "min", IDENTITY)) for trial in made.trials)
    assert parameter_importance(replace(made, trials=level)) == {}


def test_the_sweeps_own_log_goes_first_and_optunas_file_is_never_read(tmp_path):
    """In the log the learning rate decides, with pruned trials as such; the runs say something else."""
    base = {"data": {"kind": "digits"}, "family": {"kind": "diffusion"}}
    space = {"optimizer.learning_rate": {"float": [1e-4, 1e-2]}, "training.batch_size": {"choice": [32, 64]}}
    config = checked_sweep({"name": "s", "base": base, "space": space}).as_dict()
    logged = LoggedSweep(tmp_path, "s", trials=12, settings=config)
    rng = random.Random(0)
    for number in range(12):
        rate = rng.uniform(1e-4, 1e-2)
        chosen = {"optimizer.learning_rate": rate, "training.batch_size": rng.choice([32, 64])}
        logged.start(f"t{number:04d}", chosen)
        logged.evaluate(f"t{number:04d}", 100, rate)
        logged.end(f"t{number:04d}")
    logged.folder.optuna.write_bytes(b"no database at all")
    of_log = sweep(12, folder=str(logged.folder.path), sweep_id=logged.folder.state().created.sweep_id)
    assert next(iter(parameter_importance(of_log))) == "optimizer.learning_rate"
    of_another = replace(of_log, sweep_id="another sweep of this name")
    assert next(iter(parameter_importance(of_another))) == "strong"
