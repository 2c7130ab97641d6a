"""The driver's side of Tune: the next trial, the reports, and when a trial or the sweep stops."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gensweep.results import UNSAVED
from gensweep.run.nodes import NODE_LOST, Capacity, has_died, own_node_id
from gensweep.run.out_of_memory import memory_cause, memory_used, oom_kills, what_fits
from gensweep.search.session import Session
from gensweep.sweep.events import Entered, Evaluated, Saved, Started, Stopping

PROCESS_LOST, UNREACHABLE = "the trial's process was lost", "its node could not be reached"
SAVING_SECONDS = 20.0  # that trials may use to save before a sweep stops: Kubernetes kills after 30
LONGEST_LOOK = 10.0  # most seconds counted between two checks: a suspended driver receives nothing


class _NotStored:
    """Tune writes its tuner to disk; gensweep never reads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (object, ())


@dataclass
class TrialProcess:
    """The process that runs a trial."""

    node: str
    pid: int
    kills: int
    """The kernel's out-of-memory kills on the driver's machine when the trial started."""
    reported: float = math.inf
    """When the trial last reported, by the watch's clock; infinity until its workers have started."""
    workers: tuple[tuple[str, int], ...] = ()
    """Node and process id of each worker in its own process."""


class Watch:
    """Watches the processes of the running trials: which are silent, and how one was lost."""

    def __init__(self, session: Session, timeout: float | None) -> None:
        self._session, self._timeout = session, timeout
        self._processes: dict[str, TrialProcess] = {}
        self._expected = set[str]()
        """Trials whose processes are expected to end."""
        self._now, self._looked = 0.0, time.monotonic()

    def began(self, trial: str, node: str, pid: int, *, spoiled: bool) -> None:
        """A process starts a trial; it is replaced at once if an error has spoiled it."""
        self._processes[trial] = TrialProcess(node, pid, oom_kills())
        if spoiled:
            self._expected.add(trial)

    def reported(self, trial: str, *, starts: bool = False, workers: tuple[tuple[str, int], ...] = ()) -> None:
        """A trial has reported: its workers have started, or make progress."""
        process = self._processes.get(trial)
        if process is not None and (starts or process.reported < math.inf):
            process.reported = self._now
            process.workers = workers or process.workers

    def ended(self, trial: str) -> None:
        """A trial has ended or paused."""
        self._processes.pop(trial, None)
        self._expected.discard(trial)

    def look(self) -> None:
        """Kill the processes that are silent for too long; Tune then restarts their trials."""
        now = time.monotonic()
        self._now += min(now - self._looked, LONGEST_LOOK)
        self._looked = now
        for name, process in list(self._processes.items()):
            silent = self._now - process.reported
            if self._timeout is None or silent <= self._timeout:
                continue
            phase = self._session.state.trials[name].phase
            doing = f" while {phase}" if phase else ""
            self._session.lost(name, f"no progress for {silent:.0f} s{doing} (process {process.pid})", "")
            del self._processes[name]
            self._expected.add(name)
            kill_process(process.node, process.pid)

    def lost(self, name: str, cause: str, details: str, *, counts: bool = True) -> bool:
        """Report to the session why a trial was lost.  True if the trial ends, too."""
        process = self._processes.get(name)
        largest = self._largest(details)
        kills = oom_kills() - process.kills if process is not None and process.node == own_node_id() else 0
        for other in self._processes.values():
            other.kills += kills > 0  # that kill has been counted
        if cause != NODE_LOST and (killed := memory_cause(details, kills)):
            cause = f"{killed}: {what_fits(self._session.state.trials[name].config)}"
        self.ended(name)
        self._expected.add(name)
        return self._session.lost(name, cause, details, counts=counts and largest in (None, name))

    def process_ended(self, name: str, error: Exception | None) -> None:
        """The process of a trial has ended; unless expected, report it to the session."""
        process = self._processes.get(name)
        if name not in self._expected:
            cause = PROCESS_LOST
            if process is not None and process.node != own_node_id():
                if has_died(process.node):
                    cause = NODE_LOST
                elif isinstance(error, ActorUnavailableError):  # it may still run, and keep its resources for minutes
                    cause = UNREACHABLE
                    kill_process(process.node, process.pid)
            self.lost(name, cause, str(error or ""), counts=cause == PROCESS_LOST)
        self.ended(name)

    def all_lost(self, error: RuntimeError) -> None:
        """Tune gave up because Ray killed trials for lack of memory: that counts for the trial that used most."""
        text, trials = str(error), self._session.state.trials
        largest = self._largest(text)
        # If it is unknown, it counts for all trials, or the sweep would restart them forever.
        guilty = list(trials) if largest is None else [largest]
        self._processes.clear()
        cause = memory_cause(text, 0) or text.splitlines()[0]
        causes = {name: f"{cause}: {what_fits(trials[name].config)}" for name in guilty}
        self._session.requeue_all(cause, traceback.format_exc(), causes)

    def _largest(self, details: str) -> str | None:
        """The trial whose process used most memory, according to Ray's memory monitor."""
        used = memory_used(details)
        sizes = {
            used[pid]: name
            for name, process in self._processes.items()
            for node, pid in ((process.node, process.pid), *process.workers)
            if node in details and pid in used
        }
        return sizes[max(sizes)] if sizes else None


def kill_process(node: str, pid: int) -> None:
    """Kill a process of a node, without waiting; Ray's own way needs a response of the process."""
    there: Any = NodeAffinitySchedulingStrategy(node, soft=False)
    ray.remote(_kill).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(pid)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


class SessionSearcher(_NotStored, Searcher):
    """Interrupted trials first, from their checkpoints, then trials of the search, while there are resources."""

    def __init__(self, session: Session, capacity: Capacity, watch: Watch, stop: threading.Event) -> None:
        super().__init__()
        self._session, self._capacity, self._watch, self._stop = session, capacity, watch, stop
        self._trials: dict[str, str] = {}
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None if none is ready or no resources are free; Tune's FINISHED if none is left."""
        if self._stop.is_set() or self._session.stop_reason:
            return Searcher.FINISHED
        self._capacity.update(len(self._running), self._session.pending, self._session.note)
        if self._session.pending and len(self._running) >= self._capacity.trials:
            return None
        trial = self._session.next_trial()
        if trial is None:
            return None if self._session.waits else Searcher.FINISHED
        self._trials[trial_id] = trial.trial
        self._running.add(trial_id)
        checkpoints = self._session.checkpoints_of(trial.trial)
        return {"trial": trial.trial, "config": trial.config, "checkpoints": checkpoints}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended or was stopped; the callback handles errors."""
        self._running.discard(trial_id)
        if not error:
            self._watch.ended(self._trials[trial_id])
            self._session.ended(self._trials[trial_id], result or {})

    def save(self, checkpoint_path: str) -> None:
        """Write a pointer to Tune's folder: the state of the search is elsewhere."""
        Path(checkpoint_path).write_text("see events.jsonl in the sweep's folder\n")


class SessionCallback(_NotStored, Callback):
    """Handles the ends of trial processes."""

    def __init__(self, session: Session, watch: Watch) -> None:
        self._session, self._watch = session, watch

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The process died; Tune starts another one, from the newest checkpoints."""
        name = trial.config["trial"]
        self._watch.process_ended(name, _newest_error(trial))
        trial.config["checkpoints"] = self._session.checkpoints_of(name)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The process died as it started.  Tune drops its record of the trial, so the searcher suggests it again."""
        name = trial.config["trial"]
        self._watch.process_ended(name, _newest_error(trial))
        self._session.requeue(name)


def _newest_error(trial: Any) -> Exception | None:
    """How the process of a trial ended.  Tune's own reader finds only files already in its storage."""
    file = trial.pickled_error_file
    return None if file is None else ray.cloudpickle.loads(Path(file).read_bytes())


class SessionStopper(_NotStored, Stopper):
    """Passes reports to the session, which decides when a trial or the sweep stops.

    Once `stop` is set, or the session gives up, the trials may save a checkpoint before everything ends.
    """

    def __init__(self, stop: threading.Event, session: Session, watch: Watch, bell: Any) -> None:
        self._stop, self._session, self._watch = stop, session, watch
        self._bell, self._unsaved = bell, set[str]()
        self._closes_at: float | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """True if a trial stops.  Tune calls this first for every result."""
        match result:
            case {"taken": trial, "node": node, "pid": pid, "spoiled": spoiled}:
                self._watch.began(trial, node, pid, spoiled=spoiled)
                return self._session.should_end(trial)
            case {"lost": trial, "cause": cause, "details": details, "counts": counts}:
                return self._watch.lost(trial, cause, details, counts=counts)
            case {"trial": trial, "event": event, "phase": phase, "workers": workers}:
                self._watch.reported(trial, starts=isinstance(event, Started), workers=workers)
                if isinstance(event, Evaluated | Saved):
                    self._unsaved.discard(trial)
                stops = event is not None and self._session.reported(event)
                if phase not in (None, self._session.state.trials[trial].phase):
                    self._session.reported(Entered(trial, phase))
                return stops
        return False

    def stop_all(self) -> bool:
        """True to end everything.  Tune calls this all the time."""
        if self._session.problem is not None:
            raise self._session.problem
        self._watch.look()
        if self._session.time_is_up:
            self._stop.set()
        if (self._stop.is_set() or self._session.stop_reason) and not self._session.interrupted:
            self._close()
        return self._session.interrupted

    def _close(self) -> None:
        """Ask the running trials to save; end everything once they have, or after SAVING_SECONDS."""
        running = {trial.trial for trial in self._session.state.running}
        if self._closes_at is None:
            self._closes_at = time.monotonic() + SAVING_SECONDS
            self._unsaved = {trial.trial for trial in self._session.state.running if trial.phase in UNSAVED}
            if self._unsaved:
                self._session.note(Stopping(sorted(self._unsaved)))
            self._bell.ring.remote()
        if not self._unsaved & running or time.monotonic() > self._closes_at:
            self._session.interrupted = True
