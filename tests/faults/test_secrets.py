"""What the environment of a sweep holds and nobody else is to read."""

from __future__ import annotations

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check
from sweep_processes import command_of

pytestmark = [pytest.mark.ray, pytest.mark.mlflow, pytest.mark.faults]

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


def test_secrets_reach_no_command_line_and_no_file(tmp_path):
    environment = {"AWS_SECRET_ACCESS_KEY": SECRET, "MLFLOW_TRACKING_PASSWORD": SECRET, "MLFLOW_TRACKING_TOKEN": SECRET}
    with DisturbedSweep(tmp_path, trials=2, environment=environment) as sweep:
        sweep.start()
        sweep.wait_for_steps(1)
        commands = [command_of(pid) or "" for pid in sweep.processes()]
        assert any("ray::" in command for command in commands)
        assert [command for command in commands if SECRET in command] == []
        check(sweep)
        files = [file for root in (tmp_path, sweep.ray_folder) for file in root.rglob("*") if file.is_file()]
        assert any(file.name == "events.jsonl" for file in files)
        assert any(file.suffix == ".out" for file in files)
        assert [file for file in files if SECRET.encode() in file.read_bytes()] == []
