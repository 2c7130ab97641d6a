"""Processes of trials with one worker that die at awkward places: the scores are those of a quiet run.

tests/faults/test_quick_half.py kills processes of a sweep that is started from the command line.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from processes import pids
from trivial_sweeps import Memory, plan, undisturbed_sum

from gensweep.config.sweep_config import Resources
from gensweep.run import tuning
from gensweep.run.driver import run_plan
from gensweep.search.reruns import Retry
from gensweep.sweep.events import Evaluated, Lost, Progressed, Retried, Started, Suggested

pytestmark = [pytest.mark.usefixtures("ray_cluster", "no_leak")]


class Killer(Memory):
    """Kills the process of t0000 as it starts, after 300 images, and as it starts again.

    Creates the file that t0000 misses after its first error, and interrupts the sweep as t0003 hangs.
    """

    def __init__(self, missing):
        super().__init__()
        self.missing, self.killed = missing, []

    def __call__(self, event, state):
        super().__call__(event, state)
        match event:
            case Suggested(trial="t0000"):
                threading.Thread(target=self.kill_early).start()
            case Lost(trial="t0000") if "File" in event.cause:
                self.missing.mkdir()
            case Evaluated(trial="t0000") if event.evaluation.images == 300:
                self.kill()
            case Started(trial="t0000") if len(self.killed) == 2:
                self.kill()
            case Progressed(trial="t0003") if event.images == 250:
                os.kill(os.getpid(), signal.SIGTERM)

    def kill_early(self):
        while not pids("SweepTrial"):
            time.sleep(0.01)
        self.kill()

    def kill(self):
        self.killed += pids("SweepTrial")
        os.kill(self.killed[-1], signal.SIGKILL)


@pytest.fixture(scope="module")
def disturbed(ray_cluster, tmp_path_factory):
    """A sweep with its checkpoints at a URL in two sessions: with losses, then with everything repaired and retried.

    The process of t0000 also kills itself once, and t0001 misses a file until the second session.
    """
    root = tmp_path_factory.mktemp("disturbed")
    missing, away = root / "missing", root / "away"
    steps = {"steps_file": str(root / "steps"), "kill_at": 2, "once": str(root / "once"), "missing": str(missing)}
    # All CPUs: the next process finds room only once the dead one has left its place.
    resources = Resources(cpus_per_worker=4, concurrent=1, retries=1, stop_after_failed=2)
    configs = [steps, {"missing": str(away)}, {}, {"hang_at": 3}]
    sweep, killer, url = plan(configs=configs, resources=resources), Killer(missing), f"file://{root}/store"
    first = run_plan(sweep, [killer], root=root, storage=url)
    losses = killer.of(Lost)
    away.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "SAVING_SECONDS", 1.0)  # t0003 hangs as it is asked for a checkpoint
        again = run_plan(sweep, [killer], root=root, storage=url, retry=Retry())
    return SimpleNamespace(first=first, losses=losses, again=again, killer=killer, root=root, url=url)


def test_killed_processes_keep_no_slot_and_their_trials_finish(disturbed):
    assert len(disturbed.killer.killed) == 3
    assert [trial.status for trial in disturbed.again.state.trials.values()][:3] == ["finished"] * 3


def test_a_resumed_trial_repeats_nothing_and_has_the_scores_of_a_quiet_run(disturbed):
    done = [(event.trial, event.evaluation.images) for event in disturbed.killer.of(Evaluated)]
    before = [*(("t0000", images) for images in (100, 200, 300)), ("t0001", 100), ("t0001", 200)]
    assert done[:8] == [*before, ("t0000", 400), ("t0001", 300), ("t0001", 400)]
    steps = (disturbed.root / "steps").read_text().split()
    # The third kill may find the process in step 4, which has no checkpoint yet.
    assert steps in (["1", "2", "3", "4"], ["1", "2", "3", "4", "4"])
    trials = list(disturbed.again.state.trials.values())[:3]
    sums = [trial.best.evaluation.signals["sum"] for trial in trials]
    assert sums == [undisturbed_sum({}, disturbed.root)] * 3
    assert trials[0].best.checkpoint == "t0000/000000000400"
    for trial in trials:
        stored = disturbed.root / "store" / "a" / "checkpoints" / trial.trial
        assert [p.name for p in stored.iterdir()] == ["000000000400"]
        assert (stored / "000000000400" / "state.json").is_file()
    assert not (disturbed.root / "a" / "fetched").exists()  # the driver needs no checkpoint


def test_losses_fail_a_trial_only_without_a_new_checkpoint_between(disturbed):
    first = disturbed.first
    assert (first.state.status, first.exit_code) == ("failed", 1)
    exhausted, lacking = first.state.trials.values()
    assert [trial.status for trial in (exhausted, lacking)] == ["failed", "failed"]
    *processes, file, late, last = (lost.cause for lost in disturbed.losses if lost.trial == exhausted.trial)
    assert "File" in file
    assert {*processes, late, last} == {"the trial's process was lost"}
    assert all(lost.counts for lost in disturbed.losses)
    assert "the trial's process was lost" in exhausted.error
    assert "the last of 2 failures in a row without a new checkpoint" in exhausted.error
    assert exhausted.score is not None  # what was measured before counts
    assert "failed because of infrastructure errors (the last one, t0001: File" in first.state.error


def test_retry_runs_the_failed_trials_again(disturbed):
    assert [event.trial for event in disturbed.killer.of(Retried)] == ["t0000", "t0001"]
    assert disturbed.again.state.failed == []


def test_a_trial_that_hangs_while_its_sweep_is_interrupted_is_stopped(disturbed):
    assert (disturbed.again.state.status, disturbed.again.exit_code) == ("interrupted", 130)
    assert disturbed.again.state.trials["t0003"].status == "stopped"
