"""Signals to a driver that waits for something, as it does for Ray: no Ray here."""

import os
import signal
import subprocess
import sys
import time

import pytest

#: Waits for the event for a minute, then does not end by itself, as with a storage that is away.
DRIVER = """
import signal, sys, threading, time
from gensweep.last_words import last_words
from gensweep.run.signals import set_by
stop = threading.Event()
with last_words("to go on: this"), set_by(stop, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    print("ready", flush=True)
    stop.wait(60)
    print("stops", flush=True)
    while "hangs" in sys.argv:
        try:
            time.sleep(1)
        except BaseException:
            pass
"""
#: Seconds in which a second Ctrl-C must end the driver.
SOON = 3.0


def driver(*words, before=()):
    process = subprocess.Popen(
        [*before, sys.executable, "-c", DRIVER, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_it_cleanly(number):
    process = driver()
    process.send_signal(number)
    assert process.communicate() == ("stops\n", "")
    assert process.returncode == 0


def test_a_second_ctrl_c_ends_one_that_hangs_and_tells_how_to_go_on():
    process = driver("hangs")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stops\n"
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    assert process.communicate(timeout=60) == ("", "to go on: this\n")
    assert process.returncode == 130
    assert time.monotonic() - begun < SOON


@pytest.mark.waits
def test_a_hangup_that_is_ignored_stays_ignored():
    process = driver(before=("nohup",))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.terminate()
    assert process.communicate()[0] == "stops\n"


#: Starts a child in another process group, waits there for a signal, and prints: the signal came, the child is in
#: another group, its exit code (None while it runs), and that this process is back in its own group.
SEPARATING = """
import os, signal, subprocess, sys, threading
from gensweep.run.signals import set_by
from gensweep.run.signals import separate_process_group
stop, own = threading.Event(), os.getpgrp()
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # nohup, for instance, passes on that SIGHUP is ignored
with set_by(stop, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    with separate_process_group():
        child = subprocess.Popen(["sleep", "600"])
        print("ready", flush=True)
        stop.wait(60)
    apart = os.getpgid(child.pid) != own
    print(stop.is_set(), apart, child.poll(), os.getpgrp() == own, flush=True)
    child.kill()
    child.wait()
"""


@pytest.mark.parametrize("leads", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_group_spares_what_starts_apart(number, leads):
    within = [] if leads else ["sh", "-c", 'trap : INT TERM HUP; "$@"', "sh"]
    words = [*within, sys.executable, "-c", SEPARATING]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, number)
        assert process.stdout.read() == "True True None True\n"
