"""What a process says when it ends without Python's doing."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with SIGINT ignored
from gensweep.last_words import last_words
with last_words("go on with: it's this"):
    {body}
"""
WORDS = "go on with: it's this\n"


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("os._exit(1)", 1, WORDS),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, WORDS),
        ("os.killpg(0, signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, WORDS),
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
    ],
)
def test_a_killed_process_prints_how_to_resume(body, code, words):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True, start_new_session=True
    )
    assert (done.returncode, done.stderr) == (code, words)


def test_one_that_is_interrupted_tells_it_too():
    body = "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True)
    assert WORDS in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_children_end_with_a_killed_process():
    start = "subprocess.Popen(['sleep', '600'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid"
    body = f"import subprocess; print({start}, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    program = "import gensweep.last_words\ngensweep.last_words.PATIENCE = 0\n" + PROGRAM.format(body=body)
    other = subprocess.Popen(["sleep", "600"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    started = Path("/proc") / done.stdout.strip()
    deadline = time.monotonic() + 60
    while started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert other.poll() is None
    other.kill()
    other.wait()
