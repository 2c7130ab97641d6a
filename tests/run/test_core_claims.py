"""How local sweeps share the cores of a machine."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

import pytest

from gensweep.config.sweep_config import Resources, WorkerRange
from gensweep.run import core_claims
from gensweep.run.core_claims import CoreClaim, StoppedWaitingError, claim_beside, claimed_share, other_claims

HOLDS = """
import sys, threading
from gensweep.config.sweep_config import Resources
from gensweep.run import core_claims
core_claims.usable_cores = lambda: 8
with core_claims.claimed_share("first", Resources(concurrent=5), threading.Event()):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Eight cores, and nobody's claims."""
    monkeypatch.setenv("GENSWEEP_CLAIMS", str(tmp_path / "gensweep"))
    monkeypatch.setattr(core_claims, "usable_cores", lambda: 8)


@pytest.fixture
def first():
    """Another process, whose sweep uses 5 cores."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("resources", "used", "share"),
    [
        (Resources(), 0, 8),
        (Resources(concurrent=3), 0, 3),
        (Resources(concurrent=2, workers=2, cpus_per_worker=1.5), 0, 6),
        (Resources(cpus=5), 0, 5),
        (Resources(cpus=50), 0, 8),
        (Resources(), 6, 2),
        (Resources(concurrent=1), 6, 1),
        (Resources(workers=4), 6, None),
        (Resources(workers=WorkerRange(min=1, max=4)), 6, 2),
        (Resources(), 8, None),
        (Resources(cpus_per_worker=0.5), 8, None),
        (Resources(workers=2, cpus_per_worker=4), 1, None),
    ],
)
def test_a_sweep_takes_what_it_can_use_of_what_others_leave_or_waits(resources, used, share):
    others = [CoreClaim("b", 1, used)] if used else []
    claim = claim_beside(others, "a", resources)
    assert (claim and claim.cpus) == share


@pytest.mark.parametrize(
    ("resources", "trials", "share"),
    [
        (Resources(), 1, 1),
        (Resources(), 3, 3),
        (Resources(), 100, 8),
        (Resources(), 0, 1),
        (Resources(workers=2), 0, 2),
        (Resources(concurrent=2), 3, 2),
        (Resources(workers=2, cpus_per_worker=1.5), 1, 3),
        (Resources(workers=WorkerRange(min=1, max=4)), 1, 4),
    ],
)
def test_a_sweep_takes_no_more_than_its_trials_can_use(resources, trials, share):
    assert claim_beside([], "a", resources, trials).cpus == share


@pytest.mark.parametrize(
    ("resources", "share"),
    [
        (Resources(), (4, ())),
        (Resources(gpus_per_worker=1), (4, ("0", "2", "3"))),
        (Resources(gpus_per_worker=1, concurrent=1), (1, ("0",))),
        (Resources(gpus_per_worker=1, workers=2, concurrent=1), (2, ("0", "2"))),
        (Resources(gpus_per_worker=0.5, concurrent=3), (3, ("0", "2"))),
        (Resources(gpus_per_worker=4), None),
    ],
)
def test_sweeps_share_the_gpus_of_a_machine(monkeypatch, resources, share):
    monkeypatch.setattr(core_claims, "visible_gpus", lambda: ("0", "1", "2", "3"))
    claim = claim_beside([CoreClaim("b", 1, 4, ("1",))], "a", resources)
    assert (claim and (claim.cpus, claim.gpus)) == share


def test_a_sweep_sees_only_the_gpus_that_it_has_claimed(monkeypatch):
    monkeypatch.setattr(core_claims, "visible_gpus", lambda: ("4", "5"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with claimed_share("a", Resources(gpus_per_worker=1, concurrent=1), threading.Event()):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_second_sweep_is_told_who_uses_the_cores_and_takes_what_is_left(first, caplog):
    with claimed_share("second", Resources(), threading.Event()) as share:
        assert share == CoreClaim("second", os.getpid(), 3)
        assert CoreClaim("first", first.pid, 5) in other_claims()
    (line,) = caplog.messages
    assert line == f"sweep first (process {first.pid}) uses 5 of this machine's 8 cores; second uses 3"


@pytest.mark.waits
def test_a_sweep_that_does_not_fit_waits_until_the_other_one_ends(first, caplog):
    caplog.set_level(logging.WARNING)
    entered = threading.Event()

    def second():
        with claimed_share("second", Resources(workers=4), threading.Event()):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    while not caplog.messages:
        thread.join(0.05)
    assert not entered.is_set()
    first.kill()  # nothing is left that could clear up
    thread.join(30)
    assert entered.is_set()
    assert caplog.messages == [
        f"sweep first (process {first.pid}) uses 5 of this machine's 8 cores: second waits for free cores or GPUs",
        "second uses 8",
    ]
    assert other_claims() == []


def test_who_stops_waiting_has_begun_nothing(first):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedWaitingError, match="run the same command again") as stopped:
        claimed_share("second", Resources(workers=8), stop).__enter__()
    assert stopped.value.exit_code == 130
    assert [claim.pid for claim in other_claims()] == [first.pid]


def test_a_claim_ends_with_the_sweep_and_only_its_user_can_read_it(tmp_path):
    with claimed_share("a", Resources(), threading.Event()):
        (file,) = (tmp_path / "gensweep" / "claims").iterdir()
        assert (tmp_path / "gensweep").stat().st_mode & 0o077 == 0
        assert str(os.getpid()) in file.read_text()
    assert not file.exists()
