"""Trials that take more memory than there is, and other programs that do."""

from __future__ import annotations

import subprocess
import sys

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check
from memory_groups import MemoryGroup
from mounts import needs_mounts

from gensweep.sweep.events import Lost

pytestmark = [pytest.mark.ray, pytest.mark.mlflow, pytest.mark.faults]

#: Bytes: Ray and two trials that count take some 2 GiB.
LIMIT = 4 * 2**30
#: Ray kills at 3 GiB of that.
MONITOR = {"RAY_memory_monitor_refresh_ms": "100", "RAY_memory_usage_threshold": "0.75"}
#: The trial of the second learning rate takes 8 GB, 200 MB a second.
GROWING = {"TEST_TAKES": "0.002 8000 200"}

#: Takes 2.5 GB, 250 MB a second, and keeps it.
OTHER_PROGRAM = """
import sys, time
open(sys.argv[1], "w").write("0")
taken = []
for _ in range(2500):
    taken.append(b"x" * 1_000_000)
    time.sleep(1 / 250)
sys.stdin.read()
"""


@pytest.fixture
def group():
    """A control group of so many bytes."""
    try:
        made = MemoryGroup("faults", LIMIT)
    except OSError as error:
        pytest.skip(f"no control group can be made, which takes root ({error})")
    yield made
    made.remove()


def seen_by_ray(group: MemoryGroup) -> list[str]:
    """The command in which Ray takes the limit of a group for that of the machine."""
    return ["unshare", "-m", "sh", "-c", f'mount --bind {group.path} {group.root} && exec "$@"', "sh"]


def losses(sweep: DisturbedSweep) -> list[Lost]:
    return [entry.event for entry in sweep.sweep_folder.log.read() if isinstance(entry.event, Lost)]


@pytest.mark.parametrize("killer", ["the system", pytest.param("Ray", marks=needs_mounts)])
def test_a_trial_that_grows_beyond_the_memory_fails_alone(tmp_path, group, killer):
    settings = ["resources.retries=1", "resources.stop_after_failed=null"]
    environment = GROWING | (MONITOR if killer == "Ray" else {})
    options = {"group": group.members, "environment": environment, "settings": settings}
    with DisturbedSweep(tmp_path, trials=3, steps=30, **options) as sweep:
        sweep.start(within=seen_by_ray(group) if killer == "Ray" else [])
        for _ in range(2):
            sweep.disturb("out of memory")  # whoever trains beside it may start again, too
        check(sweep, failing={0.002: f"{killer} killed a worker"})
        counted = [event for event in losses(sweep) if event.counts]
        assert {event.trial for event in counted} == {trial.trial for trial in sweep.state.failed}
        assert all("training.accumulation" in event.cause for event in counted)


@needs_mounts
def test_memory_that_another_program_takes_fails_no_trial(tmp_path, group):
    options = {"group": group.members, "environment": MONITOR}
    with DisturbedSweep(tmp_path, trials=2, steps=30, **options) as sweep:
        sweep.start(within=seen_by_ray(group))
        sweep.wait_for_steps(2)
        sweep.disturb("out of memory")
        command = [sys.executable, "-c", OTHER_PROGRAM, str(group.members)]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
            sweep.wait_for("loss", lambda: losses(sweep))
            other.kill()
        check(sweep)
        assert 1 <= sum(event.counts for event in losses(sweep)) < len(losses(sweep))
