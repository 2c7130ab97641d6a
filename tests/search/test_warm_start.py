"""Searches that begin with what earlier sweeps found out."""

from __future__ import annotations

import re

import pytest
from logged import LoggedSweep
from optuna.trial import FixedTrial
from session_driver import Driver

from gensweep.build.costs import TrialCosts
from gensweep.config import checked_sweep
from gensweep.errors import ConfigError
from gensweep.run.planning import plan_sweep
from gensweep.search.sweep_plan import format_warm_start, warm_starts
from gensweep.sweep.events import WarmStarted

RATE = "optimizer.learning_rate"


def sweep(*, name="new", rate=(1.0e-4, 1.0e-2), images=640, search=None, **range_settings):
    """A sweep over the learning rate of a tiny network, which nobody trains here."""
    return checked_sweep(
        {
            "name": name,
            "base": {
                "family": {"kind": "diffusion"},
                "data": {"kind": "digits", "size": 8},
                "network": {"kind": "cnn", "width": 8, "depth": 1},
                "training": {"images": images, "batch_size": 32},
                "evaluation": {"every": 320},
            },
            "space": {RATE: {"float": list(rate), "log": True, **range_settings}},
            "search": {"trials": 12, "warm_start": ["old"], **(search or {})},
        }
    )


def planned(sweep):
    return plan_sweep(sweep, TrialCosts())


def earlier(root, sweep, results):
    """A sweep that ended, whose trials are (learning rate, scores at every 320 images, status)."""
    logged, plan = LoggedSweep(root, sweep.name, trials=len(results)), planned(sweep)
    for number, (rate, scores, status) in enumerate(results):
        name = f"t{number:04d}"
        params = plan.sample(FixedTrial({RATE: rate}))
        logged.start(name, params, plan.configure(params))
        for position, score in enumerate(scores):
            logged.evaluate(name, 320 * (1 + position), score)
        logged.end(name, status)
    logged.close()


def test_the_settings_of_the_best_come_first(tmp_path):
    earlier(tmp_path, sweep(name="old"), [(rate / 1e4, [float(rate)], "finished") for rate in (8, 3, 9, 4, 7, 6, 5)])
    (known,) = warm_starts(planned(sweep(rate=(4.0e-4, 1.0e-2))), tmp_path)  # t0001 is outside of this space
    assert known.queue == [{RATE: rate / 1e4} for rate in (4, 5, 6, 7, 8)]
    assert format_warm_start(known) == "warm start from old: the settings of 5 of its best trials come first"
    (known,) = warm_starts(planned(sweep(search={"trials": 4})), tmp_path)
    assert known.queue == [{RATE: 3e-4}, {RATE: 4e-4}]  # half of the trials are left to the search
    driver = Driver(tmp_path, warm_starts=(WarmStarted("/sweeps/old", [{"x": 0.5}]),))
    assert driver.begin().params["x"] == 0.5
    assert Driver(tmp_path).state.queue == [{"x": 0.5}]  # from the log; the other sweep may be gone


def test_an_earlier_sweep_that_cannot_help_is_refused(tmp_path):
    def refusal(**settings):
        with pytest.raises(ConfigError) as raised:
            warm_starts(planned(sweep(**settings)), tmp_path)
        return str(raised.value)

    assert re.match(r"search.warm_start: there is no sweep 'old' in .*\(known: none\)", refusal())
    LoggedSweep(tmp_path, "old").close()
    assert refusal() == (
        "search.warm_start: no trial of old has a score yet; wait for one, or remove it from search.warm_start"
    )
    earlier(tmp_path, sweep(name="slow"), [(2e-4, [9.0], "finished")])
    assert refusal(rate=(1e-3, 1e-2), search={"warm_start": ["slow"]}) == (
        "search.warm_start: no trial of slow fits this space (t0000: optimizer.learning_rate: 0.0002 is not within "
        "0.001 .. 0.01); remove it from search.warm_start, or search the same settings"
    )
    with pytest.raises(ConfigError, match=r"search\.warm_start: a grid runs every combination once"):
        sweep(rate=(1e-3, 1e-2), step=1e-3, log=False, search={"sampler": {"kind": "grid"}, "trials": 4})
