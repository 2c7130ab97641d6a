"""MLflow brought up to date with the logs of sweeps that do not run: nothing that it misses is lost."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from filelock import Timeout

from gensweep.results import Outcome
from gensweep.sweep.events import ScoredAgain, SessionEnded
from gensweep.sweep.folder import SweepFolder, SweepInUseError
from gensweep.sweep.log import LogEntry
from gensweep.tracking.records import TrialRecord, logged_sweep_id, sweep_folder
from gensweep.tracking.replay import Replay
from gensweep.tracking.run_writer import RunWriter
from gensweep.tracking.store import (
    cause_of,
    client,
    explaining_errors,
    is_this_store,
    stored_runs,
)
from gensweep.tracking.store_check import check_server
from gensweep.tracking.tags import POSITION, SWEEP_ID, TRIAL, VIEW, VIEW_FORMAT

#: Seconds that the driver of a running sweep has to send what its log says.
DRIVER_PATIENCE = 3.0
#: Seconds between two looks how far it is.
DRIVER_INTERVAL = 0.2


def sync(folder: SweepFolder, timeout: float = 20.0, *, anew: bool = False) -> int | None:
    """Bring MLflow up to date with a sweep's log; returns how many events it still misses.

    A session whose driver was lost is ended in the log first.  None for a sweep that is running, since its driver does
    it, nor while another process or thread sends them; one that belongs to another store misses nothing here.  Raises
    GensweepError if MLflow does not take the events.
    """
    message = f"MLflow did not take what is new in {folder.path} (CAUSE); the next command sends it"
    try:
        with explaining_errors(message), folder.locked():
            state = folder.state()
            if state.status == "running":
                folder.log.append(SessionEnded("interrupted", "its driver was lost"))
            if not state.sessions or not is_this_store(state.sessions[-1].store):
                return 0
            check_server()
            try:
                alone = folder.mlflow_lock().acquire(blocking=False)
            except Timeout:
                return None
            with alone:
                replay, deadline = Replay(folder, anew=anew), time.monotonic() + timeout
                while replay.catch_up() and time.monotonic() < deadline:
                    pass
                return replay.remaining()
    except SweepInUseError:
        return None


def sync_all(root: Path) -> list[str]:
    """`sync` every sweep below a folder that needs it; returns a line for each with which MLflow does not keep up.

    The driver of a running sweep gets a moment to send what its log says.  Never raises.
    """
    notes = []
    logs = sorted(root.glob("*/events.jsonl"))
    try:
        sent = _sent() if logs else {}
    except Exception as error:
        return [f"MLflow cannot be asked what it has, so sweeps may be shown as they were ({cause_of(error)})"]
    for file in logs:
        try:
            folder = SweepFolder(root, file.parent.name)
            sweep_id = logged_sweep_id(folder)
            if sweep_id is None or sent.get(sweep_id) == _Sent(folder.log.size, str(folder.path)):
                continue
            missing = sync(folder, anew=sweep_id in sent and sent[sweep_id].damaged)
            if missing != 0 and (unsent := _unsent(folder, sweep_id, DRIVER_PATIENCE if missing is None else 0.0)):
                notes.append(
                    f"{len(unsent)} records of {folder.name} are still to be written to MLflow: it is shown as of "
                    f"{datetime.fromtimestamp(unsent[0].time / 1000):%Y-%m-%d %H:%M:%S}"
                )
        except Exception as error:
            notes.append(f"MLflow could not be brought up to date with {file.parent} ({cause_of(error)})")
    return notes


def file_outcomes(trial: TrialRecord, images: int, outcomes: Sequence[Outcome]) -> None:
    """Note what was measured on a trial's checkpoint in the log of its sweep, from where it goes to MLflow.

    The checkpoint is the one after so many training images.
    If the sweep's folder is not on this machine, it goes to MLflow alone.  Noting something again changes nothing.
    Raises GensweepError if it cannot be noted.
    """
    folder = sweep_folder(trial)
    if folder is None:
        with explaining_errors("MLflow did not take the results (CAUSE); the next call files them"):
            store = client()
            RunWriter(store, store.get_run(trial.run_id)).log_outcomes(outcomes)
        return
    known = folder.state().trials[trial.trial].outcomes
    for outcome in outcomes:
        if outcome not in known:
            folder.log.append(ScoredAgain(trial.trial, outcome, images))
    sync(folder)


class _Sent(NamedTuple):
    """How many bytes of a sweep's log MLflow has, where it takes it to lie, and whether it takes it to be running.

    It is `damaged` if details of trials cannot be had, or if there are two runs of one.
    """

    position: int = 0
    folder: str = ""
    running: bool = False
    damaged: bool = False


def _sent() -> dict[str, _Sent]:
    """What MLflow has, by the id of each sweep."""
    runs = stored_runs()
    times = Counter((run.tags.get(SWEEP_ID, ""), run.tags.get(TRIAL, "")) for run in runs)
    doubled = {sweep_id for (sweep_id, _), count in times.items() if count > 1}
    return {
        (sweep_id := run.tags.get(SWEEP_ID, "")): _Sent(
            int(run.tags.get(POSITION, "0")) if run.tags.get(VIEW) == VIEW_FORMAT else 0,
            run.tags.get("gensweep.folder", ""),
            run.tags.get("gensweep.status") == "running",
            run.has_lost_details or sweep_id in doubled,
        )
        for run in runs
        if run.tags["gensweep.kind"] == "sweep"
    }


def _unsent(folder: SweepFolder, sweep_id: str, patience: float) -> list[LogEntry]:
    """What MLflow lacks of what the log says now, after some seconds for its driver to send it."""
    size, deadline = folder.log.size, time.monotonic() + patience
    while (position := _sent().get(sweep_id, _Sent()).position) < size and time.monotonic() < deadline:
        time.sleep(DRIVER_INTERVAL)
    return [entry for entry in folder.log.read(position) if entry.end <= size]
