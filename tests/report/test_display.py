import io
import math

import pytest
from made_up import IDENTITY
from rich.console import Console

from gensweep.report.display import ProgressDisplay
from gensweep.tracking.records import Report, SweepStart, TrialEnd, TrialStart

CONFIG = {"training": {"images": 1000}}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def begin(display, tmp_path, **values):
    fields = {"trials": 4, "ended": 0, "concurrent": 2, "metric": "fd", "mode": "min", "resumed": False} | values
    display.sweep_started(SweepStart(sweep="digits", folder=tmp_path, **fields))


def shown(display, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(display.render())
    return console.file.getvalue()


def test_off_a_terminal_there_is_one_line_a_finished_trial(tmp_path, clock):
    stream = io.StringIO()
    display = ProgressDisplay(stream, clock=clock)
    begin(display, tmp_path)
    display.trial_started(TrialStart("t0000", {"x": 1}, CONFIG))
    display.trial_reported(Report("t0000", 500, {"fd": 60.0, "loss": 0.1}, IDENTITY))
    clock.now = 30.0
    display.trial_ended(TrialEnd("t0000", "finished", 50.0, None, 1000, identity=IDENTITY))
    display.trial_started(TrialStart("t0001", {"x": 1}, CONFIG))
    display.trial_ended(TrialEnd("t0001", "failed", None, "RuntimeError: [bold]out of memory[/bold]", 10))
    display.sweep_ended("finished")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "digits starts: 4 trials, 2 at a time"
    assert lines[1] == (
        "t0000 finished, FD-EffNetLite0 50, 1k images in 30 s  "
        "[1/4 trials (1 finished), best FD-EffNetLite0 50 (t0000), 30 s, about 1 min 30 s left]"
    )
    assert "t0001 failed, 10 images in 0.0 s, RuntimeError: [bold]out of memory[/bold]" in lines[2]
    assert lines[3].startswith(
        "digits finished: 2/4 trials (1 finished, 1 failed), best FD-EffNetLite0 50 (t0000), 30 s"
    )
    assert len(lines) == 4


@pytest.mark.parametrize("width", [1, 10, 20, 40, 60, 80, 120, 200])
def test_the_live_table_fits_any_terminal(tmp_path, clock, width):
    display = ProgressDisplay(io.StringIO(), clock=clock, width=width)
    begin(display, tmp_path)
    display.trial_started(TrialStart("t0000", {"diffusion.timesteps": 100, "network.width": 64}, CONFIG))
    display.trial_reported(Report("t0000", 500, {"fd": 60.0, "loss": 0.1, "images_per_second": 900.0}, IDENTITY))
    text = shown(display, width)
    assert all(len(line) <= max(width, 1) for line in text.splitlines())
    if width >= 60:
        assert "500/1k" in text
        assert "best FD-EffNetLite0 60 (t0000)" in text
    if width >= 100:
        assert "timesteps=100" in text


def test_missing_and_strange_metrics_do_no_harm(tmp_path, clock):
    display = ProgressDisplay(io.StringIO(), clock=clock)
    display.render()
    begin(display, tmp_path)
    display.trial_reported(Report("unknown", 5, {}))
    display.trial_started(TrialStart("t0000", {}, {}))
    display.trial_reported(Report("t0000", 0, {}))
    display.trial_reported(Report("t0000", 10, {"fd": math.nan, "loss": math.inf}))
    assert "t0000" in shown(display, 80)
    display.trial_ended(TrialEnd("t0000", "finished", math.nan, None, 10))
    display.trial_ended(TrialEnd("t0000", "failed", None))
    display.sweep_ended("failed")
    assert "best" not in shown(display, 80)


def test_the_best_follows_the_mode(tmp_path, clock):
    for mode, best in (("min", "1 (t0001)"), ("max", "3 (t0002)")):
        display = ProgressDisplay(io.StringIO(), clock=clock)
        begin(display, tmp_path, mode=mode)
        for number, value in enumerate((2.0, 1.0, 3.0)):
            display.trial_started(TrialStart(f"t000{number}", {}, CONFIG))
            display.trial_ended(TrialEnd(f"t000{number}", "finished", value, None, 1000))
        assert best in shown(display, 100)


def test_the_time_left_counts_running_trials_and_early_stops(tmp_path, clock):
    display = ProgressDisplay(io.StringIO(), clock=clock)
    begin(display, tmp_path, ended=1, resumed=True)
    for trial in ("t0001", "t0002"):
        display.trial_started(TrialStart(trial, {}, CONFIG))
    clock.now = 60.0
    display.trial_reported(Report("t0001", 500, {}))
    display.trial_ended(TrialEnd("t0002", "pruned", 5.0, None, 100))
    # One and a half trials in a minute; half a one and a whole one to go.
    assert "2/4 trials (1 pruned)" in shown(display, 100)
    assert "1 min 00 s, about 1 min 00 s left" in shown(display, 100)


def test_on_a_terminal_a_failure_is_shown_once_and_the_table_goes_away(tmp_path, clock):
    stream = io.StringIO()
    with ProgressDisplay(stream, live=True, clock=clock, width=100) as display:
        begin(display, tmp_path)
        display.trial_started(TrialStart("t0000", {}, CONFIG))
        for _ in range(2):
            display.trial_ended(TrialEnd("t0000", "failed", None, "ValueError: no", 10))
        display.trial_started(TrialStart("t0001", {}, CONFIG))
        display.trial_ended(TrialEnd("t0001", "finished", 5.0, None, 1000))
        display.sweep_ended("finished")
    assert stream.getvalue().count("ValueError: no") == 1
    assert "digits finished: 2/4 trials" in stream.getvalue()


@pytest.mark.parametrize("width", [100, 110, 160])
def test_many_settings_take_no_room_from_the_numbers(tmp_path, clock, width):
    display = ProgressDisplay(io.StringIO(), live=False, clock=clock, width=width)
    begin(display, tmp_path)
    params = {f"section.some_setting_{number}": 0.123456789 for number in range(30)}
    display.trial_started(TrialStart("t0017", params, CONFIG))
    display.trial_reported(Report("t0017", 500, {"fd": 61.25, "loss": 0.125, "images_per_second": 321.0}, IDENTITY))
    table = shown(display, width).splitlines()[2:]
    assert all(len(line) <= width for line in table)
    assert len(table) == 2
    for words in ("t0017", "500/1k", "61.25", "0.125", "321"):
        assert words in table[1]
    assert "FD-EffNetLite0" in table[0]
