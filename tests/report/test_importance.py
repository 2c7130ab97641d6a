import random
from dataclasses import replace
from datetime import UTC, datetime

import optuna
import pytest
from made_up import IDENTITY

from gensweep.report.importance import parameter_importance
from gensweep.tracking.runs import Score, Sweep, Trial


def sweep(count, folder=None):
    """A sweep in which `strong` decides nearly everything."""
    rng, trials, begin = random.Random(0), [], datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        params = {"strong": rng.uniform(0, 1), "weak": rng.choice(["a", "b"]), "same": 3, "whole": rng.randint(1, 9)}
        value = 100 * params["strong"] + (params["weak"] == "a") + 0.1 * params["whole"]
        score = Score("fd", value, "min", IDENTITY)
        trials.append(Trial("s", f"t{number}", f"r{number}", "gan", "finished", begin, score, params=params))
    return Sweep("s", "run", "finished", begin, "fd", "min", folder=folder, trials=tuple(trials))


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
    level = tuple(replace(trial, objective=Score("fd", 1.0, "min", IDENTITY)) for trial in made.trials)
    assert parameter_importance(replace(made, trials=level)) == {}


def test_the_sweeps_own_study_goes_first(tmp_path):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'optuna.db'}", study_name="s")
    study.optimize(lambda trial: trial.suggest_float("of_study", 0, 1) + 0.01 * trial.suggest_float("b", 0, 1), 12)
    assert next(iter(parameter_importance(sweep(12, str(tmp_path))))) == "of_study"


def test_a_damaged_study_is_passed_over(tmp_path):
    (tmp_path / "optuna.db").write_bytes(b"no database at all, only some text that is long enough" * 40)
    assert next(iter(parameter_importance(sweep(12, str(tmp_path))))) == "strong"
