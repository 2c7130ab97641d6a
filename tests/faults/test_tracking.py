"""A tracking store that is locked, damaged or away while a sweep runs."""

from __future__ import annotations

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check
from tracking_server import TrackingServer, TroubledProxy

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


@pytest.mark.faults
def test_a_failing_server_delays_nothing_and_misses_nothing(tmp_path):
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
