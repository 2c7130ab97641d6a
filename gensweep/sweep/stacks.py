"""Where a process hangs that makes no progress, found out on its own machine."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gensweep.sweep.heartbeat import STACK_FILE, STACK_SIGNAL
from gensweep.sweep.stalls import Stuck

#: Seconds that a machine has to start a process that looks.
LOOK_TIMEOUT = 30.0
#: Seconds that a process has to write its stacks.
WRITING_SECONDS = 3.0
#: What the kernel calls a process, where that explains a missing stack.
STATES = {
    "T": "it is stopped (SIGSTOP), so it cannot show where",
    "t": "it is stopped by a debugger, so it cannot show where",
    "D": "it waits for a disk or a network file system, so it cannot show where",
    "Z": "it has ended",
}
#: The functions below which a worker trains, in the words of a stack.
_TRAINING = re.compile(r'/sweep/worker\.py", line \d+ in serve$', re.MULTILINE)
_FRAME = re.compile(r'File "(.*)", line (\d+) in (.*)')


class StackFinding(NamedTuple):
    """Where a process hangs, in a few words; the stacks of its training and of all threads, if it could show them."""

    line: str
    stack: str = ""
    threads: str = ""


def examine_all(stuck: Sequence[Stuck]) -> list[StackFinding]:
    """Look at stuck ranks, each on its machine."""
    looks = []
    for each in stuck:
        options: dict[str, Any] = {
            "num_cpus": 0,
            "max_retries": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(each.sign.node, soft=False),
        }
        looks.append(ray.remote(**options)(examine).remote(each.sign.pid, each.sign.descriptor))
    deadline, findings = time.monotonic() + LOOK_TIMEOUT, []
    for look in looks:
        try:
            findings.append(ray.get(look, timeout=max(0.0, deadline - time.monotonic())))
        except (ray.exceptions.RayError, TimeoutError):
            findings.append(StackFinding("its machine does not answer"))
    return findings


def examine(pid: int, descriptor: int | None) -> StackFinding:
    """Let a process of this machine, and of this user, write its stacks to its open file."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return StackFinding("it has ended" if Path("/proc/self").exists() else "stacks are shown on Linux only")
    if state in STATES:
        return StackFinding(STATES[state])
    file = Path(f"/proc/{pid}/fd/{descriptor}")
    with contextlib.suppress(OSError):
        # Another process, which has got the number since, would end at the signal.
        if STACK_FILE not in str(file.readlink()):
            return StackFinding("it has ended")
        start = file.stat().st_size  # behind what it wrote for those who looked before
        os.kill(pid, STACK_SIGNAL)
        text, deadline = "", time.monotonic() + WRITING_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.1)
            before, text = text, file.read_bytes()[start:].decode(errors="replace")
            if text and text == before:
                stack = _training_stack(text)
                return StackFinding(_innermost(stack), stack, text.strip())
    return StackFinding("it does not write its stack, so it hangs in a call to the system")


def _training_stack(threads: str) -> str:
    """That of the thread which trains, else of the main one, which comes last."""
    stacks = threads.strip().split("\n\n")
    return next((stack for stack in stacks if _TRAINING.search(stack)), stacks[-1])


def _innermost(stack: str) -> str:
    """Where a thread is, as "in FUNCTION, FILE:LINE"."""
    frame = _FRAME.search(stack)
    if frame is None:
        return "its stack is in the log"
    file, line, function = frame.groups()
    return f"in {function}, {'/'.join(Path(file).parts[-2:])}:{line}"
