"""What `make test` injects into one sweep: processes are killed, files damaged or lost, MLflow locked and then damaged.

tests/run/test_lost_processes.py kills trial actors at awkward moments, tests/run/test_groups.py the parts of a group.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from damage import cut, empty, flip, garble, remove, restored
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off, check_refused
from typed_commands import call

from gensweep.remote_folder import RemoteFolder, below
from gensweep.sweep.events import Evaluated, Saved, Stopping

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


def test_a_sweep_survives_lost_processes_files_and_mlflow(tmp_path, s3):
    """One driver is interrupted, the next one lost with its folder, and the last one cannot tell MLflow."""
    storage = s3.url(uuid4().hex[:6])
    stored = below(storage, DisturbedSweep.name)
    with DisturbedSweep(tmp_path, trials=2, steps=12, concurrent=1) as sweep:
        sweep.start("--storage", storage)
        for kind in ("trial actor", "bell"):
            sweep.wait_for_steps(2)
            sweep.kill(kind)
        sweep.wait_for_steps(2)
        sweep.kill("driver", signal.SIGINT)
        check_broken_off(sweep, 130)
        kinds = [type(entry.event) for entry in sweep.sweep_folder.log.read()]
        # A checkpoint, which has a score if the trial was about to be scored.
        assert {Saved, Evaluated} & set(kinds[kinds.index(Stopping) :])
        check_damaged_files_are_refused(sweep)
        lose_views(sweep)
        sweep.resume()
        sweep.wait_for_steps(3)
        sweep.kill("driver")
        check_broken_off(sweep, -signal.SIGKILL)
        known = sweep.recorded_steps
        shutil.rmtree(sweep.sweep_folder.path)
        sweep.run("tune", "--resume", stored)
        sweep.wait_for_steps(known + 1)
        with closing(sqlite3.connect(tmp_path / "mlflow.db", timeout=60, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            sweep.disturb("database locked")
            check_refused(sweep, 0, "MLflow is not up to date")
        garble(tmp_path / "mlflow.db")
        said = call(under_another_name(tmp_path), "trials", sweep.name).err
        assert "mlflow.db is damaged" in said
        assert "move its file away" in said
        (tmp_path / "mlflow.db").unlink()
        for _ in range(20):  # a command that only reads sends for a few seconds
            if "MLflow is not up to date" not in call(tmp_path, "trials", sweep.name).err:
                break
        check(sweep)
        checkpoints = {name.split("/")[1] for name in RemoteFolder(stored).files() if name.startswith("checkpoints/")}
        assert checkpoints == sweep.state.trials.keys()


def check_damaged_files_are_refused(sweep: DisturbedSweep) -> None:
    """What is damaged and cannot be made anew is named, and nothing is trained."""
    root, folder, trained = sweep.folder, sweep.sweep_folder.path, len(sweep.steps)
    here = under_another_name(root)
    damages = [(flip, "events.jsonl"), (garble, "events.jsonl"), (empty, "events.jsonl"), (remove, "events.jsonl")]
    damages += [(cut, "sweep.json"), (flip, "sweep.json"), (empty, "sweep.json")]
    for damage, name in damages:
        with restored(folder / name):
            damage(folder / name)
            said = call(here, "tune", "--resume", sweep.name, code=1)
            assert name in said.err
            assert "Traceback" not in said.err
    assert len(sweep.steps) == trained


def under_another_name(folder: Path) -> Path:
    """The folder for a command in this process, where MLflow keeps connections by the name of the database."""
    link = folder / uuid4().hex
    link.symlink_to(folder)
    return link


def lose_views(sweep: DisturbedSweep) -> None:
    """Tear the log as a crash would, garble or remove what can be made anew from it; it has no pictures."""
    folder = sweep.sweep_folder.path
    with (folder / "events.jsonl").open("ab") as log:
        log.write(b'{"v":1,"time":17')
    garble(folder / "optuna.db")
    shutil.rmtree(folder / "ray")
    for file in (folder / "lock", sweep.folder / "mlflow.db"):
        file.unlink()
