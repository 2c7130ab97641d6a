import io

import pytest
from logged import MadeEvents
from made_up import IDENTITY
from rich.console import Console

from gensweep.report.display import ProgressDisplay
from gensweep.sweep.events import (
    Created,
    Ended,
    Lost,
    Paused,
    Progressed,
    Scaled,
    SessionStarted,
    Started,
    Suggested,
)
from gensweep.sweep.state import SweepState

CONFIG = {"training": {"images": 1000}}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


class Shown(MadeEvents):
    """A display, and the sweep that it shows."""

    def __init__(self, clock, stream=None, trials=4, mode="min", concurrent=2, **settings):
        self.display = ProgressDisplay(stream or io.StringIO(), clock=clock, **settings)
        self.state, self.scoring = SweepState(), {"identity": IDENTITY, "mode": mode}
        self.add(Created("id", "digits", "fd", mode, trials))
        self.add(SessionStarted(concurrent))

    @property
    def trials(self):
        return self.state.trials

    def add(self, event):
        self.state.apply(event, 0)
        self.display(event, self.state)

    def start(self, trial, params=None, config=CONFIG):
        super().start(trial, params, config)

    def evaluate(self, trial, images, value, **signals):
        super().evaluate(trial, images, value, "c", **self.scoring, **signals)


def shown(display, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(display.render())
    return console.file.getvalue()


def test_a_trial_that_lost_its_workers_says_where_it_resumes(clock):
    stream = io.StringIO()
    sweep = Shown(clock, stream)
    sweep.start("t0000")
    sweep.evaluate("t0000", 200, 5.0)
    sweep.add(Lost("t0000", "worker lost (rank 0: end of file)"))
    said = "t0000: worker lost (rank 0: end of file); it resumes from image 200"
    assert said in stream.getvalue()
    assert "t0000  waits" in shown(sweep.display, 60)
    sweep.start("t0000")
    assert "waits" not in shown(sweep.display, 60)


def test_off_a_terminal_there_is_one_line_a_finished_trial(clock):
    stream = io.StringIO()
    sweep = Shown(clock, stream)
    sweep.start("t0000", {"x": 1})
    sweep.evaluate("t0000", 500, 60.0, loss=0.1)
    clock.now = 30.0
    sweep.evaluate("t0000", 1000, 50.0)
    sweep.end("t0000")
    sweep.start("t0001", {"x": 1})
    sweep.progress("t0001", 10)
    sweep.end("t0001", "failed", "RuntimeError: [bold]out of memory[/bold]")
    sweep.close()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "digits starts: 4 trials, 2 at a time"
    assert lines[1] == (
        "t0000 finished, FD-EffNetLite0 50, 1k images  "
        "[1/4 trials (1 finished), best FD-EffNetLite0 50 (t0000), 30 s, about 1 min 30 s left]"
    )
    assert "t0001 failed, 10 images, RuntimeError: [bold]out of memory[/bold]" in lines[2]
    assert lines[3].startswith(
        "digits finished: 2/4 trials (1 finished, 1 failed), best FD-EffNetLite0 50 (t0000), 30 s"
    )
    assert len(lines) == 4


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 120, 200])
def test_the_live_table_fits_any_terminal(clock, width):
    sweep = Shown(clock, width=width)
    sweep.start("t0000", {"diffusion.timesteps": 100, "network.width": 64})
    sweep.progress("t0000", 400, loss=0.1, images_per_second=900.0)
    sweep.evaluate("t0000", 500, 60.0)
    text = shown(sweep.display, width)
    assert all(len(line) <= max(width, 1) for line in text.splitlines())
    if width >= 60:
        assert "500/1k" in text
        assert "best FD-EffNetLite0 60 (t0000)" in text
    if width >= 100:
        assert "timesteps=100" in text


def test_the_time_left_counts_running_trials_and_early_stops(clock):
    sweep = Shown(clock)
    sweep.start("t0000")
    sweep.end("t0000")
    sweep.close("interrupted")
    sweep.add(SessionStarted(2))
    fresh = ProgressDisplay(io.StringIO(), clock=clock)
    fresh(SessionStarted(2), sweep.state)
    sweep.display = fresh
    for trial in ("t0001", "t0002"):
        sweep.start(trial)
    clock.now = 60.0
    sweep.progress("t0001", 500)
    sweep.progress("t0002", 100)
    sweep.end("t0002", "pruned")
    # One and a half trials in a minute; half a one and a whole one to go.
    assert "2/4 trials (1 finished, 1 pruned)" in shown(fresh, 100)
    assert "1 min 00 s, about 1 min 00 s left" in shown(fresh, 100)


@pytest.mark.parametrize(("scheduler", "left"), [("asha", "about 1 min 00 s left"), ("fifo", "about 3 min 00 s left")])
def test_the_time_left_counts_trials_that_wait_as_far_as_these_go_on(clock, scheduler, left):
    """Of four trials two wait at half: as if they were done, or with another half of each to come."""
    stream = io.StringIO()
    sweep = Shown(clock, stream, scheduler=scheduler)
    for trial in ("t0000", "t0001"):
        sweep.start(trial)
        sweep.evaluate(trial, 500, 9.0)
        clock.now += 30.0
        sweep.add(Paused(trial))
    assert left in shown(sweep.display, 100)
    assert "t0000 paused, FD-EffNetLite0 9, 500 images" in stream.getvalue()


def test_a_search_with_a_budget_shows_what_of_it_is_spent(clock):
    stream = io.StringIO()
    display, state = ProgressDisplay(stream, clock=clock), SweepState()
    events = [
        Created("id", "digits", "fd", "min", 100_000, search_unit="flops", search_budget=4e12),
        SessionStarted(1),
        Suggested("t0000", 0, {}, {}, CONFIG),
        Started("t0000"),
        Progressed("t0000", 1000, {"flops": 1e12, "scoring_flops": 2e11}),
        Ended("t0000", "pruned"),
    ]
    for event in events:
        state.apply(event, 0)
        clock.now += 10
        display(event, state)
    first, last = stream.getvalue().splitlines()
    assert "0 trials, 0 FLOPs of 4 TFLOPs" in first
    assert "[1/1 trial, 1.2 TFLOPs of 4 TFLOPs (1 pruned)" in last
    assert "left" not in last


@pytest.mark.parametrize(("trials", "left"), [(2, "1 min 30 s"), (9, "3 min 05 s")])
def test_the_time_left_before_a_deadline_is_that_of_trainings_that_fit(clock, monkeypatch, trials, left):
    """A training takes a minute, and the last one ends 25 to 85 s before the deadline, as the end takes some time."""
    monkeypatch.setattr("time.time", lambda: clock.now)
    sweep = Shown(clock, trials=trials, concurrent=1)
    sweep.add(SessionStarted(1, deadline=270_000))
    assert "about 4 min 30 s left" in shown(sweep.display, 100)  # nothing is known before the first steps
    sweep.start("t0000")
    clock.now = 30.0
    sweep.progress("t0000", 500)
    assert f"30 s, about {left} left" in shown(sweep.display, 100)
    clock.now = 255.0
    sweep.progress("t0000", 900)
    assert "about 15 s left" in shown(sweep.display, 100)  # it will be saved at the deadline


def test_missing_nodes_are_shown_in_a_line_and_in_the_table(clock):
    stream = io.StringIO()
    sweep = Shown(clock, stream, concurrent=0)
    sweep.add(Scaled(1, 0, 2, "1 GPU"))
    clock.now = 180.0
    sweep.add(Scaled(1, 0, 2, "1 GPU"))
    assert "waiting for 2 x 1 GPU" in shown(sweep.display, 100)
    sweep.add(Scaled(3, 2, 0, "1 GPU"))
    assert "waiting" not in shown(sweep.display, 100)
    assert stream.getvalue().splitlines()[1:] == [
        "digits: 1 node, 0 trials at a time, waiting for 2 x 1 GPU",
        "digits: 1 node, 0 trials at a time, waiting for 2 x 1 GPU",
        "digits: 3 nodes, 2 trials at a time",
    ]
