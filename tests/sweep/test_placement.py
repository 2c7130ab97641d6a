"""Trial actors that die leave nothing reserved, and living ones are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from gensweep.sweep import placement
from gensweep.sweep.placement import free_dead, take_lease

HOLD = """
import pathlib, sys, time
from gensweep.sweep.placement import take_lease
lease = take_lease(pathlib.Path(sys.argv[1]), "killed")
print("held", flush=True)
time.sleep(60)
"""


def test_the_groups_of_a_killed_runner_are_freed_and_those_of_living_and_closed_ones_are_not(tmp_path, monkeypatch):
    freed = []
    monkeypatch.setattr(placement, "free_groups", freed.append)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with take_lease(tmp_path, "alive"), subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        with take_lease(tmp_path, "closed"):
            (tmp_path / "closed").unlink()
        assert holder.stdout.readline()
        free_dead(tmp_path)
        assert freed == [[]]
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        for _ in range(2):  # again and again, as its group may come later
            free_dead(tmp_path)
        assert freed[1:] == [["killed"], ["killed"]]
