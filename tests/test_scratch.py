"""Scratch folders: gone with their process, however it ends."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from gensweep.files import remove_dead_scratch, scratch_folder

HOLDS = """
import sys, time
from gensweep.files import scratch_folder
with scratch_folder("t0007") as folder:
    (folder / "file").write_text("content")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_gone_at_its_end_and_no_other_takes_it_away_before(temporary):
    with scratch_folder("a") as first, scratch_folder("a") as second:
        remove_dead_scratch()
        assert first != second
        assert first.is_dir()
        assert second.is_dir()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_and_what_a_living_one_has_stays(temporary):
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = process.stdout.readline().strip()
        remove_dead_scratch()
        assert [str(folder) for folder in temporary.iterdir()] == [left]
        process.send_signal(signal.SIGKILL)
    with scratch_folder("next") as folder:
        assert list(temporary.iterdir()) == [folder]
