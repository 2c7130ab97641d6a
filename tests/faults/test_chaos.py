"""A sweep of which a process is killed at random every few seconds, until it has ended as if nothing had happened.

make chaos SEED=7 MINUTES=10 prints what was killed and what it cost, and writes it to build/faults/chaos.json.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import time
from collections import Counter
from typing import Any

import pytest
from disturbed_sweep import DisturbedSweep
from ended_well import FIGURES, check, figures
from sweep_processes import TRACKING_SERVER
from tracking_server import TrackingServer

pytestmark = [pytest.mark.ray, pytest.mark.mlflow, pytest.mark.chaos]

#: What trials consist of, by their number of workers, and the server that shows them: killed at any moment.
PARTS = {1: ["trial actor", "bell", TRACKING_SERVER]}
PARTS[2] = [*PARTS[1], "worker", "controller", "mailbox"]
#: What all trials need: killed once a step was trained since the last start, as a start takes longer than a pause.
FOUNDATIONS = ["other process of Ray's", "raylet", "gcs", "driver"]
#: Seconds between two kills.
PAUSE = (5.0, 15.0)
#: Seconds until a process of a kind is there to be killed; then another kind takes its turn.
SEARCH = 60.0
#: Seconds for which a tracking server stays away.
AWAY = (1.0, 10.0)
#: Kills come faster than checkpoints may, so that no trial is given up for them.
SETTINGS = ["resources.retries=20", "resources.stop_after_failed=null"]
#: Seconds that a sweep may take to its end once nothing is killed any more.
END = 900.0


class Chaos:
    """Kills processes of one sweep after the other until a moment, and resumes whatever driver has ended."""

    def __init__(self, seed: int, until: float, server: TrackingServer) -> None:
        self._random, self._until, self._server = random.Random(seed), until, server
        self._workers = 1
        self.codes: Counter[int] = Counter()
        """How often drivers ended with each exit code."""

    def run(self, sweep: DisturbedSweep, workers: int) -> None:
        """Start a sweep, disturb it, and wait for its end."""
        self._workers = workers
        self._revive_server()
        self._start(sweep)
        end = self._until + END
        due, victim = self._next()
        while True:
            assert time.time() < end, sweep.said()
            code = sweep.sessions[-1].poll()
            if code is not None:
                self.codes[code] += 1
                self._revive_server()
                if code == 0:
                    sweep.run("trials", sweep.name)  # sends what the server has missed
                    return
                self._start(sweep)
            now = time.time()
            if due < now < self._until and (self._kill(sweep, victim) or now > due + SEARCH):
                due, victim = self._next()
            sweep.wait_a_moment()

    def _start(self, sweep: DisturbedSweep) -> None:
        self._started = time.monotonic()
        (sweep.resume if sweep.sweep_folder.exists else sweep.start)()

    def _next(self) -> tuple[float, str]:
        """When what is killed next."""
        pause = self._random.uniform(*PAUSE)
        return time.time() + pause, self._random.choice(PARTS[self._workers] + FOUNDATIONS)

    def _kill(self, sweep: DisturbedSweep, victim: str) -> bool:
        """Kill a process of a kind, if there is one."""
        if victim == TRACKING_SERVER:
            sweep.disturb(victim)
            self._server.kill()
            time.sleep(self._random.uniform(*AWAY))
            self._server.launch()
            return True
        trains = any(step["time"] > self._started for step in sweep.steps)
        found = sweep.processes(victim)
        if not found or (victim in FOUNDATIONS and not trains):
            return False
        sweep.disturb(victim)
        os.kill(self._random.choice(found), signal.SIGKILL)
        return True

    def _revive_server(self) -> None:
        if not self._server.answers:
            self._server.kill()
            self._server.start()


def test_whatever_is_killed_all_trials_end_as_if_nothing_had_been(tmp_path, capsys):
    seed, minutes = int(os.environ.get("SEED") or time.time()), float(os.environ.get("MINUTES") or 10)
    begin = time.time()
    server = TrackingServer(tmp_path)
    server.start()
    chaos = Chaos(seed, begin + 60 * minutes, server)
    rounds: list[dict[str, Any]] = []
    with capsys.disabled():
        print(f"\nseed {seed}, {minutes:g} minutes", flush=True)  # noqa: T201
    try:
        while not rounds or time.time() < begin + 60 * minutes:
            folder = tmp_path / f"round-{len(rounds)}"
            folder.mkdir()
            workers = 1 + len(rounds) % 2
            options: dict[str, Any] = {
                "concurrent": 2 // workers,
                "environment": {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_EXPERIMENT_NAME": folder.name},
                "settings": [*SETTINGS, f"resources.workers={workers}"],
            }
            with DisturbedSweep(folder, trials=12, steps=10, **options) as sweep:
                try:
                    chaos.run(sweep, workers)
                finally:
                    rounds.append(figures(sweep))
                check(sweep)
    finally:
        report = {"seed": seed, "minutes": minutes, "exit_codes": chaos.codes, "rounds": rounds}
        FIGURES.mkdir(parents=True, exist_ok=True)
        (FIGURES / "chaos.json").write_text(json.dumps(report, indent=1) + "\n")
        with capsys.disabled():
            print(table(rounds))  # noqa: T201
        server.kill()
    with capsys.disabled():
        print("all trials finished with the scores of an undisturbed run, MLflow equals the log")  # noqa: T201


def table(rounds: list[dict[str, Any]]) -> str:
    """What was killed how often, and what it cost."""
    told = [each for one in rounds for each in one["disturbances"]]
    lines = [f"{'killed':24} {'times':>5} {'noticed':>9} {'trains again':>13} {'steps repeated':>15}"]
    for what in sorted({each["what"] for each in told}):
        mine = [each for each in told if each["what"] == what]
        times = [
            middle([each[key] for each in mine]) for key in ("seconds_until_noticed", "seconds_until_trained_again")
        ]
        repeated = sum(each["steps_repeated"] for each in mine)
        lines.append(f"{what:24} {len(mine):5} {times[0]:>9} {times[1]:>13} {repeated:15}")
    steps = sum(one["steps"] for one in rounds)
    trials = sum(one["trials"] for one in rounds)
    repeated = sum(each["steps_repeated"] for each in told)
    lines.append(f"{len(told)} kills, {trials} trials, {repeated} of {steps} steps repeated")
    return "\n".join(lines)


def middle(seconds: list[float | None]) -> str:
    """The median of those that there are."""
    known = [each for each in seconds if each is not None]
    return f"{statistics.median(known):.1f} s" if known else "-"
