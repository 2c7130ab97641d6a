"""Which trainings start before a deadline."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from session_driver import Driver

from gensweep.cli.sweep_options import parse_deadline
from gensweep.config.search_methods import AshaSettings, Fifo
from gensweep.config.sweep_config import Repeats
from gensweep.errors import ConfigError
from gensweep.results import Cost
from gensweep.search import session
from gensweep.sweep import log
from gensweep.sweep.state import END_SCORINGS, END_SECONDS

WHOLE, RUNGS = 90.0, (10, 30, 90)


class Sweep:
    """One worker, whose trials take a second for each image and nothing else, with a fake clock."""

    def __init__(self, root, monkeypatch, seconds, *, scheduler=None, scoring=0.0, repeats=None, deadline=True):
        self.now, self.scoring = 1e6, scoring
        clock = SimpleNamespace(time=lambda: self.now)
        monkeypatch.setattr(log, "time", clock)
        monkeypatch.setattr(session, "time", clock)
        self.ends = self.now + seconds
        settings = {"search": {"scheduler": scheduler or Fifo(), "repeats": repeats}, "budget": 90, "grace": 10}
        settings["configs"] = [{"training": {"images": 90}}] * 99
        self.driver = Driver(root, trials=90, deadline=self.ends if deadline else None, **settings)

    def run(self, value=lambda number: float(number)):
        """Train until nothing starts, or the time is up."""
        while (trial := self.driver.session.next_trial()) is not None:
            self.driver.names["x"] = trial.trial
            for images in (each for each in RUNGS if each > trial.images):
                self.now += 0.999 * (images - trial.images + self.scoring)
                scorings = len(trial.evaluations) + 1
                cost = Cost(images=images, device_seconds=float(images), scoring_device_seconds=scorings * self.scoring)
                if self.driver.session.time_is_up or self.driver.evaluate(images, value(trial.number), cost=cost):
                    break
            self.driver.end(finished=trial.images == 90)
            if self.driver.session.time_is_up:
                return
        self.ended = self.now


def test_no_training_starts_that_cannot_end_in_time(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, monkeypatch, seconds=4 * WHOLE + END_SECONDS + 50)
    sweep.run()
    assert [trial.status for trial in sweep.driver.state.trials.values()] == ["finished"] * 4
    assert not sweep.driver.state.left


def test_a_training_that_just_fits_starts(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, monkeypatch, seconds=4 * WHOLE + END_SECONDS)
    sweep.run()
    assert len(sweep.driver.state.trials) == 4


def test_time_is_left_to_score_the_best_trial_again(tmp_path, monkeypatch):
    scoring = 4.0
    needed = 3 * (WHOLE + 3 * scoring) + END_SECONDS + END_SCORINGS * scoring
    for index, (seconds, trials) in enumerate([(needed, 3), (needed - 1, 2)]):
        sweep = Sweep(tmp_path / str(index), monkeypatch, seconds, scoring=scoring)
        sweep.run()
        assert len(sweep.driver.state.trials) == trials


def test_time_is_left_for_the_repeats(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, monkeypatch, seconds=6 * WHOLE + END_SECONDS + 1, repeats=Repeats(top=1, seeds=2))
    sweep.run()
    repeats = [trial.repeat_of is not None for trial in sweep.driver.state.trials.values()]
    assert repeats == [False] * 4 + [True] * 2
    assert not sweep.driver.session.time_is_up


def test_early_stopping_fills_the_time_and_trains_one_trial_to_its_end(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, monkeypatch, seconds=300 + END_SECONDS, scheduler=AshaSettings())
    sweep.run(lambda number: (7 * number) % 11)
    state = sweep.driver.state
    assert "finished" in {trial.status for trial in state.trials.values()}
    assert {trial.status for trial in state.trials.values()} <= {"finished", "pruned"}
    assert not state.left
    assert sweep.ends - 20 - END_SECONDS < sweep.ended <= sweep.ends - END_SECONDS


def test_a_slow_trial_is_saved_when_the_time_is_up(tmp_path, monkeypatch):
    """The cost of a training is unknown before the first one, so it may be too long."""
    sweep = Sweep(tmp_path, monkeypatch, seconds=60 + END_SECONDS)
    sweep.run()
    assert sweep.driver.session.time_is_up


def test_a_sweep_without_a_deadline_has_all_the_time(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, monkeypatch, seconds=0, deadline=False)
    sweep.run()
    assert len(sweep.driver.state.trials) == 90


def test_a_time_of_day_is_the_next_one():
    first, second = parse_deadline(None, "00:00"), parse_deadline(None, "12:00")
    assert abs(first - second) == 12 * 3600 or abs(first - second) in (11 * 3600, 13 * 3600)  # summer time begins
    assert min(first, second) > parse_deadline("1s", None) - 1
    assert max(first, second) < parse_deadline("25h", None)


@pytest.mark.parametrize(
    ("given", "words"), [(("8", None), "unit"), (("9Tflops", None), "no time"), ((None, "7"), "HH")]
)
def test_other_texts_are_refused(given, words):
    with pytest.raises(ConfigError, match=words if words != "HH" else "07:00"):
        parse_deadline(*given)
