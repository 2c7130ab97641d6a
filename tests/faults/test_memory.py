"""Trials that take more memory than there is."""

from __future__ import annotations

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check
from memory_groups import MemoryGroup

pytestmark = [pytest.mark.ray, pytest.mark.mlflow, pytest.mark.faults]

#: Bytes: Ray and two trials that count take some 2 GiB.
LIMIT = 4 * 2**30


@pytest.fixture
def group():
    """A control group of so many bytes."""
    try:
        made = MemoryGroup("faults", LIMIT)
    except OSError as error:
        pytest.skip(f"no control group can be made, which takes root ({error})")
    yield made
    made.remove()


def test_a_trial_that_takes_more_memory_than_there_is_fails_alone(tmp_path, group):
    environment = {"TEST_TAKES": f"0.002 {2 * LIMIT}"}
    settings = ["resources.retries=1", "resources.stop_after_failed=null"]
    with DisturbedSweep(
        tmp_path, trials=3, steps=4, group=group.members, environment=environment, settings=settings
    ) as sweep:
        sweep.start()
        check(sweep, failing={0.002: "memory"})
