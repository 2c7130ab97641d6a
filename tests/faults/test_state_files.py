"""Files of a sweep's folder that are cut, flipped, garbled or gone while nobody runs it."""

from __future__ import annotations

import shutil
import signal

import pytest
from damage import cut, empty, flip, garble, remove, restored
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off, check_refused
from typed_commands import call

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


def test_a_driver_that_is_interrupted_and_killed_goes_on_though_files_are_damaged_between(tmp_path):
    """What is damaged and cannot be made anew is named; views are made anew."""
    with DisturbedSweep(tmp_path, trials=2, steps=8, concurrent=1) as sweep:
        sweep.start()
        sweep.wait_for_steps(3)
        sweep.kill("driver", signal.SIGINT)
        check_broken_off(sweep, 130)
        folder, trained = sweep.sweep_folder.path, len(sweep.steps)
        here = tmp_path / "here"  # MLflow keeps connections in this process, by the name of the database
        here.symlink_to(tmp_path)
        damages = [(flip, "events.jsonl"), (garble, "events.jsonl"), (empty, "events.jsonl"), (remove, "events.jsonl")]
        damages += [(cut, "sweep.json"), (flip, "sweep.json"), (empty, "sweep.json")]
        for damage, name in damages:
            with restored(folder / name):
                damage(folder / name)
                said = call(here, "tune", "--resume", sweep.name, code=1)
                assert name in said.err
                assert "Traceback" not in said.err
        with restored(tmp_path / "mlflow.db"):
            garble(tmp_path / "mlflow.db")
            sweep.resume()
            check_refused(sweep, 1, "mlflow.db")
        assert len(sweep.steps) == trained
        sweep.resume()
        sweep.wait_for_steps(3)
        sweep.kill("driver")
        check_broken_off(sweep, -signal.SIGKILL)
        with (folder / "events.jsonl").open("ab") as log:
            log.write(b'{"v":1,"time":17')  # torn by a crash
        garble(folder / "optuna.db")
        for name in ("ray", "pictures"):
            shutil.rmtree(folder / name)
        for file in (folder / "lock", tmp_path / "mlflow.db"):
            file.unlink()
        sweep.resume()
        check(sweep)


@pytest.mark.faults
def test_a_checkpoint_that_is_damaged_is_passed_over_for_the_one_before(tmp_path):
    with DisturbedSweep(tmp_path, trials=1, steps=16, seconds=None) as sweep:
        sweep.start()
        for damage in (cut, flip, remove):
            sweep.wait_for_steps(2)
            sweep.kill("driver", signal.SIGTERM)
            check_broken_off(sweep, 130)
            newest = max((sweep.sweep_folder.path / "checkpoints" / "t0000").iterdir())
            sweep.disturb(f"checkpoint {damage.__name__}")
            damage(newest / "state.safetensors")
            sweep.resume()
            sweep.wait_for_steps(1)
            assert newest.name in sweep.said()
        check(sweep)
