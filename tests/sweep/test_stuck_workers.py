"""Workers that live and do nothing: they are named and replaced, and the scores are those of a quiet run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from processes import pids
from trivial_sweeps import Memory, plan

from gensweep.config.sweep_config import Resources
from gensweep.sweep.events import Evaluated, Lost, Stalled
from gensweep.sweep.run import run_plan

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]

#: Seconds; a step of the job takes some milliseconds.
TIMEOUT = 4


class Stopper(Memory):
    """Stops one process of a trial's two workers, that of rank 1, once it was evaluated after 200 images."""

    def __init__(self, victim):
        super().__init__()
        self.victim, self.stopped = victim, None

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Evaluated) and event.trial == self.victim and event.evaluation.images == 200:
            (self.stopped,) = set(pids("RayTrainWorker")) - {int(event.evaluation.signals["pid"])}
            os.kill(self.stopped, signal.SIGSTOP)
            self.victim = None


@pytest.fixture(scope="module")
def stuck(ray_cluster, tmp_path_factory):
    """Three trials on two workers: rank 0 of the first sleeps for ever, rank 1 of the second is stopped."""
    root, watched = tmp_path_factory.mktemp("stuck"), {"training": {"stall_timeout": TIMEOUT}}
    asleep = {"stick_at": 3, "stick_rank": 0, "stuck": str(root / "mark")}
    memory = Stopper("t0001")
    configs = [{**watched, **asleep}, {**watched, "sleep": 0.2}, {}]
    sweep = plan(trials=3, configs=configs, resources=Resources(workers=2, concurrent=1))
    return run_plan(sweep, [memory], root=root), memory


def test_stuck_workers_cost_a_trial_nothing_but_time(stuck):
    result, memory = stuck
    assert [trial.status for trial in result.state.trials.values()] == ["finished"] * 3
    assert len({trial.best.evaluation.signals["sum"] for trial in result.state.trials.values()}) == 1
    for trial in result.state.trials:
        images = [event.evaluation.images for event in memory.of(Evaluated) if event.trial == trial]
        assert images == [100, 200, 300, 400]


def test_only_the_rank_that_hangs_is_named_with_its_process_and_its_stack(stuck):
    _, memory = stuck
    (lost,) = [event for event in memory.of(Lost) if event.trial == "t0000"]
    assert lost.counts
    assert lost.cause.startswith("rank 0 makes no progress for ")
    assert "while training (pid " in lost.cause
    assert "in sleep_for_ever, sweep/jobs.py:" in lost.cause
    assert "rank 1" not in lost.cause
    assert "in sleep_for_ever" in lost.stack
    assert lost.stack in Path(lost.log).read_text()


def test_a_stopped_process_is_named_and_said_to_have_no_stack(stuck):
    _, memory = stuck
    (lost,) = [event for event in memory.of(Lost) if event.trial == "t0001"]
    assert lost.cause.startswith("rank 1 gives no sign of life for ")
    assert f"(pid {memory.stopped} on " in lost.cause
    assert lost.cause.endswith("it is stopped (SIGSTOP), so it cannot show where")
    assert not Path(f"/proc/{memory.stopped}").exists()


def test_a_trial_that_makes_no_progress_is_told_of_before_its_workers_are_ended(stuck):
    _, memory = stuck
    for trial in ("t0000", "t0001"):
        kinds = [type(event) for event in memory.events if getattr(event, "trial", None) == trial]
        assert kinds.index(Stalled) < kinds.index(Lost)
    assert all(event.seconds > TIMEOUT / 2 for event in memory.of(Stalled) if event.seconds)
