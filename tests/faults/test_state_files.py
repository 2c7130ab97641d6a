"""Files of a sweep's folder that are cut, flipped, garbled or gone while nobody runs it."""

from __future__ import annotations

import signal

import pytest
from damage import cut, flip, remove
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


@pytest.mark.faults
def test_a_checkpoint_that_is_damaged_is_passed_over_for_the_one_before(tmp_path):
    with DisturbedSweep(tmp_path, trials=1, steps=48, seconds=None) as sweep:
        sweep.start()
        for damage in (cut, flip, remove):
            sweep.wait_for_steps(2)
            sweep.kill("driver", signal.SIGTERM)
            check_broken_off(sweep, 130)
            newest = sweep.sweep_folder.path / "checkpoints" / sweep.state.trials["t0000"].checkpoints[0]
            sweep.disturb(f"checkpoint {damage.__name__}")
            damage(newest / "state.safetensors")
            sweep.resume()
            sweep.wait_for_steps(1)
            assert newest.name in sweep.said()
        check(sweep)
