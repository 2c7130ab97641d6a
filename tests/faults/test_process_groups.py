"""Signals to a whole process group or session, as from a closed terminal, `timeout` or a shell with job control."""

from __future__ import annotations

import os
import pty
import signal
import sys

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import check, check_broken_off, check_left_nothing

from gensweep.sweep.events import Evaluated, Saved, Stopping

#: Makes its standard input the terminal of a new session, as a terminal window does, and becomes its arguments.
LOGIN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""

pytestmark = [pytest.mark.ray, pytest.mark.mlflow]


def check_saved(sweep: DisturbedSweep, code: int = 130) -> None:
    """The sweep ends in order: after the signal each trial that trained saves a checkpoint, and no step is lost."""
    check_broken_off(sweep, code)
    kinds = [type(entry.event) for entry in sweep.sweep_folder.log.read()]
    assert {Saved, Evaluated} & set(kinds[kinds.index(Stopping) :]), sweep.said()
    assert sweep.state.status == "interrupted"
    assert "GCS" not in sweep.said()


def test_a_signal_to_the_process_group_lets_trials_save(tmp_path):
    with DisturbedSweep(tmp_path, trials=1, steps=60, concurrent=1) as sweep:
        sweep.start(process_group=0)
        sweep.wait_for_steps(2)
        sweep.disturb("group SIGTERM")
        os.killpg(sweep.sessions[-1].pid, signal.SIGTERM)
        check_saved(sweep)


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_to_the_process_group_let_trials_save(tmp_path, number):
    with DisturbedSweep(tmp_path, trials=2, steps=60) as sweep:
        sweep.start(process_group=0)
        sweep.wait_for_steps(2)
        sweep.disturb(f"group {number.name}")
        os.killpg(sweep.sessions[-1].pid, number)
        check_saved(sweep)


@pytest.mark.faults
def test_timeout_lets_trials_save(tmp_path):
    with DisturbedSweep(tmp_path, trials=2, steps=60) as sweep:
        sweep.start(within=["timeout", "1h"])
        sweep.wait_for_steps(1)
        sweep.sessions[-1].terminate()  # `timeout` then signals its whole group, as it does when the time is over
        check_saved(sweep)


@pytest.mark.faults
def test_a_session_leader_saves_after_a_signal_to_itself(tmp_path):
    with DisturbedSweep(tmp_path, trials=2, steps=60) as sweep:
        sweep.start(within=["setsid", "--wait"])
        sweep.wait_for_steps(2)
        sweep.kill("driver", signal.SIGTERM, which=-1)
        check_saved(sweep)


@pytest.mark.faults
def test_nohup_ignores_a_closed_terminal(tmp_path):
    with DisturbedSweep(tmp_path, trials=1, steps=8, concurrent=1) as sweep:
        sweep.start(within=["nohup"], process_group=0)
        sweep.wait_for_steps(2)
        os.killpg(sweep.sessions[-1].pid, signal.SIGHUP)
        check(sweep)


@pytest.mark.faults
@pytest.mark.parametrize("shell", [["sh", "-c", '"$@"; exit $?', "sh"], ["bash", "-ic", '"$@"; exit $?', "bash"]])
def test_a_terminal_that_goes_away_lets_trials_save(tmp_path, shell):
    with DisturbedSweep(tmp_path, trials=2, steps=60) as sweep:
        ours, its = pty.openpty()
        sweep.start(within=[sys.executable, "-c", LOGIN, *shell], stdin=its)
        os.close(its)
        sweep.wait_for_steps(2)
        sweep.disturb("terminal gone")
        os.close(ours)
        sweep.wait()  # for the shell
        sweep.wait_for("end of the driver", lambda: not sweep.processes("driver"))
        kinds = [type(entry.event) for entry in sweep.sweep_folder.log.read()]
        assert {Saved, Evaluated} & set(kinds[kinds.index(Stopping) :]), sweep.said()
        assert f"gensweep tune --resume {sweep.name}" in sweep.said()
        assert sweep.state.status == "interrupted"
        check_left_nothing(sweep)
