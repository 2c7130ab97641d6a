"""A tracking store that is locked, damaged or away while a sweep runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from damage import garble
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_refused
from tracking_server import TrackingServer, TroubledProxy

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


def test_a_database_that_is_locked_and_then_damaged_holds_nothing_up_and_misses_nothing(tmp_path):
    with DisturbedSweep(tmp_path, trials=2, concurrent=1) as sweep:
        sweep.start()
        sweep.wait_for_steps(1)
        with closing(sqlite3.connect(tmp_path / "mlflow.db", timeout=60, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            sweep.disturb("database locked")
            check_refused(sweep, 0, "MLflow misses", "the next command sends them")
        garble(tmp_path / "mlflow.db")
        sweep.run("trials", sweep.name)
        check_refused(sweep, 1, "mlflow.db is damaged", "move its file away")
        (tmp_path / "mlflow.db").unlink()
        sweep.run("trials", sweep.name)
        check(sweep)


@pytest.mark.faults
def test_a_server_in_every_kind_of_trouble_holds_nothing_up_and_misses_nothing(tmp_path):
    server = TrackingServer(tmp_path)
    server.start()
    proxy = TroubledProxy(server)
    try:
        with DisturbedSweep(tmp_path, steps=60, environment={"MLFLOW_TRACKING_URI": proxy.uri}) as sweep:
            sweep.start()
            for trouble in ("503", "drops connections", "loses replies", "hangs"):
                sweep.wait_for_steps(4)
                refused = proxy.refused
                proxy.trouble = trouble
                sweep.disturb(f"tracking server: {trouble}")
                sweep.wait_for(f"request while it {trouble}", lambda seen=refused: proxy.refused > seen)
                sweep.wait_for_steps(4)
                proxy.trouble = None
            server.kill()
            sweep.disturb("tracking server killed")
            sweep.wait_for_steps(4)
            server.start()
            check(sweep)
    finally:
        proxy.close()
        server.kill()
