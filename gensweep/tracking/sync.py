"""MLflow brought up to date with the logs of sweeps that do not run: nothing that it misses is lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from gensweep.results import Outcome
from gensweep.sweep.events import ScoredAgain, SessionEnded
from gensweep.sweep.folder import SweepFolder, SweepInUseError
from gensweep.tracking.records import TrialRecord, logged_sweep_id, sweep_folder
from gensweep.tracking.replay import Replay
from gensweep.tracking.run_writer import RunWriter
from gensweep.tracking.store import (
    cause_of,
    check_server,
    client,
    experiment_id,
    explaining_errors,
    search_runs,
    store_name,
)
from gensweep.tracking.tags import POSITION, SWEEP_ID

logger = logging.getLogger(__name__)


def sync(folder: SweepFolder, timeout: float = 20.0) -> int:
    """Bring MLflow up to date with a sweep's log; returns how many events it still misses.

    A session whose driver was lost is ended in the log first.  Nothing is done for a sweep that is running, since its
    driver does it, or one that belongs to another store.  Raises GensweepError if MLflow does not take the events.
    """
    message = f"MLflow did not take what is new in {folder.path} (CAUSE); the next command sends it"
    try:
        with explaining_errors(message), folder.locked():
            state = folder.state()
            if state.status == "running":
                folder.log.append(SessionEnded("interrupted", "its driver was lost"))
            if not state.sessions or state.sessions[-1].store not in ("", store_name()):
                return 0
            check_server()
            replay, deadline = Replay(folder), time.monotonic() + timeout
            while replay.catch_up() and time.monotonic() < deadline:
                pass
            return replay.remaining()
    except SweepInUseError:
        return 0


def sync_all(root: Path) -> int:
    """`sync` every sweep below a folder that needs it; returns how many still miss events.  Never raises."""
    logs = sorted(root.glob("*/events.jsonl"))
    remaining = 0
    try:
        positions = _positions() if logs else {}
    except Exception as error:
        logger.warning("MLflow cannot be asked how far it is: %s", cause_of(error))
        return len(logs)
    for file in logs:
        try:
            folder = SweepFolder(root, file.parent.name)
            sweep_id = logged_sweep_id(folder)
            if sweep_id is not None and positions.get(sweep_id) != folder.log.size:
                remaining += sync(folder) > 0
        except Exception as error:
            remaining += 1
            logger.warning("MLflow could not be brought up to date with %s: %s", file.parent, cause_of(error))
    return remaining


def file_outcomes(trial: TrialRecord, outcomes: Sequence[Outcome]) -> None:
    """Note what was measured on a trial's checkpoint in the log of its sweep, from where it goes to MLflow.

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
            folder.log.append(ScoredAgain(trial.trial, outcome))
    sync(folder)


def _positions() -> dict[str, int]:
    """How many bytes of each log MLflow has, by the id of the sweep, for sweeps that are not running."""
    experiment = experiment_id(client(), create=False)
    query = "tags.`gensweep.kind` = 'sweep' and tags.`gensweep.status` != 'running'"
    runs = [] if experiment is None else search_runs(experiment, query)
    return {run.data.tags.get(SWEEP_ID, ""): int(run.data.tags.get(POSITION, "0")) for run in runs}
