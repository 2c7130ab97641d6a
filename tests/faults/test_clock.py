"""A clock that is set while a sweep runs."""

from __future__ import annotations

import importlib.util
import signal
import time
from pathlib import Path

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off

pytestmark = [pytest.mark.ray, pytest.mark.mlflow, pytest.mark.faults]


def library() -> Path | None:
    """That of faketime: of the system (apt-get install faketime), or of the package libfaketime."""
    places = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    if (found := importlib.util.find_spec("libfaketime")) is not None and found.origin is not None:
        places += Path(found.origin).parent.rglob("libfaketime*.so.1")
    return next(iter(places), None)


@pytest.fixture
def clock(tmp_path):
    """The environment in which the clock can be set, and what sets it; monotonic clocks go on, as on a real machine."""
    if (faketime := library()) is None:
        pytest.skip("there is no libfaketime: apt-get install faketime, or pip's libfaketime")
    offset = tmp_path / "offset"
    offset.write_text("+0")  # seconds

    def set_clock(sweep: DisturbedSweep, hours: int) -> None:
        sweep.disturb(f"clock {hours:+} h")
        (new := tmp_path / "new-offset").write_text(f"{hours:+}h")
        new.replace(offset)  # whoever read half of it, or nothing, would end
        time.sleep(2)  # until every process has looked

    environment = {
        "LD_PRELOAD": str(faketime),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        # Seconds.  Where the file was read for each answer, processes under load slept for hours now and then, as if a
        # thread had been told the true time while another one read.
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return environment, set_clock


def test_a_clock_that_jumps_ahead_changes_nothing(tmp_path, clock):
    environment, set_clock = clock
    with DisturbedSweep(tmp_path, trials=2, steps=12, environment=environment) as sweep:
        sweep.start()
        sweep.wait_for_steps(3)
        set_clock(sweep, 3)
        sweep.wait_for_steps(3)
        sweep.kill("trial actor")
        check(sweep)
        check_dates(sweep)


def test_training_survives_a_clock_that_is_set_back(tmp_path, clock):
    environment, set_clock = clock
    with DisturbedSweep(tmp_path, trials=2, steps=20, environment=environment) as sweep:
        sweep.start()
        sweep.wait_for_steps(3)
        set_clock(sweep, -3)
        sweep.wait_for_steps(3)
        sweep.kill("trial actor")  # timers of Ray's go by the clock: its next process would come three hours later
        sweep.wait_for_steps(3)
        sweep.kill("driver", signal.SIGINT)
        check_broken_off(sweep, 130)
        sweep.resume()
        check(sweep)
        check_dates(sweep)


def check_dates(sweep: DisturbedSweep) -> None:
    """The clock of the sweep was set."""
    dates = [entry.time / 3_600_000 for entry in sweep.sweep_folder.log.read()]
    assert max(dates) - min(dates) > 2
