"""What a trial's actor makes of workers that hang, without Ray."""

from __future__ import annotations

from gensweep.sweep import trial_runner
from gensweep.sweep.stacks import StackFinding
from gensweep.sweep.stalls import Sign, Stuck
from gensweep.sweep.trial_queue import Message


def test_stuck_workers_are_told_in_a_line_with_the_stack_of_their_training_and_all_threads_besides(monkeypatch):
    signs = [Sign(rank, "host", "node", 100 + rank, 3, "training", 1, 1, 60.0, 65.0) for rank in (1, 2)]
    stuck = (Stuck(signs[0], 66.0, silent=False), Stuck(signs[1], 61.0, silent=True))
    findings = [StackFinding("in read, data/loader.py:85", "File x", "File x\n\nFile y"), StackFinding("it is stopped")]
    monkeypatch.setattr(trial_runner, "examine_all", lambda asked: findings if asked == stuck else [])
    message = trial_runner._explained(Message("stalled", stuck=stuck))
    assert message.error == (
        "rank 1 makes no progress for 66 s while training (pid 101 on host): in read, data/loader.py:85; "
        "rank 2 gives no sign of life for 61 s while training (pid 102 on host): it is stopped"
    )
    assert message.stack == "rank 1: in read, data/loader.py:85\nFile x\n\nrank 2: it is stopped"
    assert message.details == "threads of rank 1:\nFile x\n\nFile y"
    assert message.outside
