"""Processes of a sweep that are killed: the parts of a trial with several workers, Ray's own."""

from __future__ import annotations

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off, check_refused

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


@pytest.mark.faults
def test_ray_is_killed_while_it_starts(tmp_path):
    with DisturbedSweep(tmp_path, trials=2) as sweep:
        sweep.start()
        sweep.kill("raylet")
        check_refused(sweep, 1, "Error: Ray did not start (", "run the command again")
        sweep.start()
        check(sweep)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["raylet", "gcs"])
def test_rays_own_processes_are_killed(tmp_path, kind):
    with DisturbedSweep(tmp_path, trials=2, steps=60) as sweep:  # longer than Ray takes to notice it
        sweep.start()
        sweep.wait_for_steps(3)
        sweep.kill(kind)
        check_broken_off(sweep, 1)
        sweep.resume()
        check(sweep)


@pytest.mark.faults
def test_parts_of_a_trial_with_two_workers_are_killed(tmp_path):
    with DisturbedSweep(tmp_path, trials=1, steps=24, concurrent=1, settings=["resources.workers=2"]) as sweep:
        sweep.start()
        for kind in ("worker", "controller", "mailbox", "trial actor"):
            sweep.wait_for_steps(2)
            sweep.kill(kind)
        check(sweep)
