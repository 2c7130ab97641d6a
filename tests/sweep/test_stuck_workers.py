"""Two trials of two workers each at once, some of which live and do nothing: they are named and replaced.

The scores are those of a quiet run, and another trial's workers are stopped together.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from trivial_sweeps import Memory, plan

from gensweep.config.search_methods import MedianStopping
from gensweep.config.sweep_config import Resources
from gensweep.sweep.events import Evaluated, Lost, Stalled
from gensweep.sweep.run import run_plan

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]

#: Seconds; a step of the job takes some milliseconds.
TIMEOUT = 5


@pytest.fixture(scope="module")
def stuck(ray_cluster, tmp_path_factory):
    """Four trials: rank 0 of the first sleeps for ever, rank 1 of the second is stopped, the third is pruned."""
    root = tmp_path_factory.mktemp("stuck")
    hang = {"step": 3, "rank": 0, "by": "sleep", "mark": str(root / "asleep")}
    stop = {"step": 3, "rank": 1, "by": "SIGSTOP", "mark": str(root / "stopped")}
    watched, memory = {"training": {"stall_timeout": TIMEOUT}}, Memory()
    configs = [{**watched, "stuck": hang}, {**watched, "stuck": stop}, {"x": 2.0}, {}]
    median = {"search": {"scheduler": MedianStopping(min_trials=1)}, "grace": 100}
    result = run_plan(plan(configs=configs, resources=Resources(workers=2), **median), [memory], root=root)
    return result, memory, int((root / "stopped").read_text())


def test_two_workers_a_trial_run_two_at_once_without_deadlock_and_stop_together(stuck):
    result, memory, _ = stuck
    assert result.state.sessions[-1].concurrent == 2
    assert [trial.status for trial in result.state.trials.values()] == ["finished", "finished", "pruned", "finished"]
    assert [event.evaluation.images for event in memory.of(Evaluated) if event.trial == "t0002"] == [100]


def test_stuck_workers_cost_a_trial_nothing_but_time(stuck):
    result, memory, _ = stuck
    finished = [trial for trial in result.state.trials.values() if trial.status == "finished"]
    assert len({trial.best.evaluation.signals["sum"] for trial in finished}) == 1
    for trial in finished:
        images = [event.evaluation.images for event in memory.of(Evaluated) if event.trial == trial.trial]
        assert images == [100, 200, 300, 400]


def test_only_the_rank_that_hangs_is_named_with_its_process_and_its_stack(stuck):
    _, memory, _ = stuck
    (lost,) = [event for event in memory.of(Lost) if event.trial == "t0000"]
    assert lost.counts
    assert lost.cause.startswith("rank 0 makes no progress for ")
    assert "while training (pid " in lost.cause
    assert "in sleep_for_ever, sweep/jobs.py:" in lost.cause
    assert "rank 1" not in lost.cause
    assert "in sleep_for_ever" in lost.stack
    assert lost.stack in Path(lost.log).read_text()


def test_a_stopped_process_is_named_and_said_to_have_no_stack(stuck):
    _, memory, stopped = stuck
    (lost,) = [event for event in memory.of(Lost) if event.trial == "t0001"]
    assert lost.cause.startswith("rank 1 gives no sign of life for ")
    assert f"(pid {stopped} on " in lost.cause
    assert lost.cause.endswith("it is stopped (SIGSTOP), so it cannot show where")
    assert not Path(f"/proc/{stopped}").exists()


def test_a_trial_that_makes_no_progress_is_told_of_before_its_workers_are_ended(stuck):
    _, memory, _ = stuck
    for trial in ("t0000", "t0001"):
        kinds = [type(event) for event in memory.events if getattr(event, "trial", None) == trial]
        assert kinds.index(Stalled) < kinds.index(Lost)
    assert all(event.seconds > TIMEOUT / 2 for event in memory.of(Stalled) if event.seconds)
