"""Trials of two workers, two at once, that hang, are stopped or lose a process: the scores are those of a quiet run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from processes import pids
from trivial_sweeps import Memory, plan, undisturbed_sum

from gensweep.config.search_methods import MedianStopping
from gensweep.config.sweep_config import Resources
from gensweep.run.driver import run_plan
from gensweep.sweep.events import Evaluated, Lost

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]

#: Seconds; a step of the job takes some milliseconds, but the machine may be busy.
TIMEOUT = 25


class Killer(Memory):
    """Kills the process, the controller and the mailbox of a trial, one after each evaluation of t0003."""

    VICTIMS = {100: "SweepTrial", 200: "TrainController", 300: "Mailbox"}  # noqa: RUF012

    def __call__(self, event, state):
        super().__call__(event, state)
        if isinstance(event, Evaluated) and event.trial == "t0003":
            for pid in pids(self.VICTIMS.pop(event.evaluation.images, "nothing")):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def swept(ray_cluster, tmp_path_factory):
    """Rank 0 of t0000 sleeps for ever, rank 1 of t0001 is stopped, t0002 is pruned, t0003 loses process after process.

    A worker of t0003 kills itself first.
    """
    root = tmp_path_factory.mktemp("groups")
    hang = {"step": 3, "rank": 0, "by": "sleep", "mark": str(root / "asleep")}
    stop = {"step": 3, "rank": 1, "by": "SIGSTOP", "mark": str(root / "stopped")}
    killed = {"kill_at": 1, "once": str(root / "once"), "sleep": 0.5}
    configs, killer = [{"stuck": hang}, {"stuck": stop}, {"x": 2.0}, killed], Killer()
    median = {"search": {"scheduler": MedianStopping(min_trials=1)}, "grace": 100}
    resources = Resources(workers=2, stall_timeout=TIMEOUT)
    return run_plan(plan(configs=configs, resources=resources, **median), [killer], root=root), killer, root


def test_two_trials_of_two_workers_run_at_once_and_stop_together(swept):
    result, killer, _ = swept
    assert result.state.sessions[-1].concurrent == 2
    assert [trial.status for trial in result.state.trials.values()] == ["finished", "finished", "pruned", "finished"]
    assert [event.evaluation.images for event in killer.of(Evaluated) if event.trial == "t0002"] == [100]


def test_disturbances_cost_a_trial_nothing_but_time(swept):
    result, killer, root = swept
    finished = [trial for trial in result.state.trials.values() if trial.status == "finished"]
    assert {trial.best.evaluation.signals["sum"] for trial in finished} == {undisturbed_sum({}, root)}
    for trial in finished:
        images = [event.evaluation.images for event in killer.of(Evaluated) if event.trial == trial.trial]
        assert images == [100, 200, 300, 400]


@pytest.mark.parametrize(("trial", "mark"), [("t0000", "asleep"), ("t0001", "stopped")])
def test_silent_trials_are_killed_and_named(swept, trial, mark):
    _, killer, root = swept
    (lost,) = [event for event in killer.of(Lost) if event.trial == trial]
    assert lost.counts
    assert lost.cause.startswith("no progress for ")
    assert "while training" in lost.cause
    assert not Path(f"/proc/{(root / mark).read_text()}").exists()


def test_each_lost_process_is_told(swept):
    _, killer, _ = swept
    causes = [event.cause for event in killer.of(Lost) if event.trial == "t0003"]
    assert causes[0].startswith("worker lost (rank 1: ")
    assert len(causes) >= 4
