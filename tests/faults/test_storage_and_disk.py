"""Disks that are full or read-only: of the sweep's folder, of its storage, of temporary files."""

from __future__ import annotations

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off, check_refused
from small_disk import fill, problem, remount, small_disk

pytestmark = [
    pytest.mark.ray,
    pytest.mark.mlflow,
    pytest.mark.faults,
    pytest.mark.skipif(problem() is not None, reason=str(problem())),
]

#: Three trials, each of which is given up at its first failure.
IMPATIENT = {"trials": 3, "steps": 12, "settings": ["resources.retries=0"]}


def test_a_full_disk_ends_the_sweep_which_goes_on_once_there_is_room(tmp_path):
    with small_disk(tmp_path / "sweeps", 16) as disk, DisturbedSweep(tmp_path, trials=2, steps=12) as sweep:
        sweep.start()
        sweep.wait_for_steps(3)
        sweep.disturb("the disk of the sweep is full")
        ballast = fill(disk)
        check_broken_off(sweep, 1, "free", str(disk))
        ballast.unlink()
        sweep.resume()
        check(sweep)


def test_a_full_storage_ends_the_sweep_which_goes_on_once_there_is_room(tmp_path):
    with small_disk(tmp_path / "storage", 16) as disk, DisturbedSweep(tmp_path, trials=3, steps=12) as sweep:
        sweep.start("--storage", str(disk))
        sweep.wait_for_steps(3)
        sweep.disturb("the storage is full")
        ballast = fill(disk)
        check_broken_off(sweep, 1, "no space is left for", str(disk))
        ballast.unlink()
        sweep.resume()
        check(sweep)


def test_read_only_folders_are_refused_at_once(tmp_path):
    with small_disk(tmp_path / "disk", 16) as disk, DisturbedSweep(tmp_path, trials=1, steps=2) as sweep:
        remount(disk, "ro")
        sweep.start("--sweeps", str(disk))
        check_refused(sweep, 1, str(disk), "read-only")
        sweep.start("--storage", str(disk))
        check_refused(sweep, 1, str(disk), "read-only")
        sweep.environment["TMPDIR"] = str(disk)
        sweep.start()
        check_refused(sweep, 1, "temporary files", str(disk), "read-only")
        assert not sweep.steps


def test_trials_failed_by_a_full_temporary_disk_can_resume(tmp_path):
    with small_disk(tmp_path / "scratch", 16) as disk:
        environment = {"TMPDIR": str(disk)}
        with DisturbedSweep(tmp_path, environment=environment, **IMPATIENT) as sweep:
            sweep.start()
            sweep.wait_for_steps(3)
            sweep.disturb("the disk of temporary files is full")
            ballast = fill(disk)
            code = sweep.wait()  # the third trial may find room that the others have left
            assert code in (1, 3)
            check_refused(sweep, code, "no space is left for", f"gensweep tune --retry {sweep.name}")
            ballast.unlink()
            sweep.run("tune", "--retry", sweep.name)
            check(sweep)
            assert list(disk.glob("*scratch*")) == []
