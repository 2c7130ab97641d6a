"""The verdict on each sweep, filed with its run: as its description, with the report."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from filelock import Timeout

from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.files import scratch_folder
from gensweep.report.html import write_report
from gensweep.report.verdict import format_verdict
from gensweep.sweep.stored_sweeps import StoredSweep
from gensweep.tracking.run_writer import RunWriter
from gensweep.tracking.store import check_store, client, explaining_errors, runs_of, store_name
from gensweep.tracking.sweep_copy import SWEEP, Sent
from gensweep.tracking.tags import DESCRIPTION
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import recommend

logger = logging.getLogger(__name__)

#: The folder of a run's artifacts that holds the report.
REPORT = "report"
#: The beginning of gensweep's descriptions; a description by a user stays.
BEGINNING = "**Verdict.** "


def file_reports(sweeps: Iterable[StoredSweep]) -> None:
    """File the report of each ended sweep whose run is up to date and lacks the report of its present log.

    Never raises: the next command files the others.
    """
    for sweep in sweeps:
        try:
            with sweep.folder.copy_lock().acquire(blocking=False):
                sent = Sent.read(sweep.folder)
                is_current = sent.store == store_name(sweep.folder.path) and sent.position == sweep.folder.log.size
                if not is_current or sent.running or sent.report == sent.position:
                    continue
                _file_report(sweep)
                sent.report = sent.position
                sent.write(sweep.folder)
        except (NothingToCompareError, Timeout):
            continue
        except GensweepError as error:
            logger.warning("%s", error)


def _file_report(sweep: StoredSweep) -> None:
    comparison = compare([sweep])
    judged = recommend(comparison)
    with scratch_folder("report") as aside, explaining_errors(f"the report of {sweep.name} was not filed (CAUSE)"):
        check_store()
        folder = aside / REPORT
        folder.mkdir()
        write_report(comparison, judged, folder / "report.html")
        if not (runs := runs_of(store := client(), str(sweep.folder.sweep_id), SWEEP)):
            raise GensweepError("its run was deleted")
        run = RunWriter(store, runs[-1])
        run.log(tags={"gensweep.recommended": judged.recommended.trial.trial})
        store.log_artifacts(run.id, str(folder), REPORT)
        described = run.tags.get(DESCRIPTION, "")
        if not described or described.startswith(BEGINNING):
            run.log(tags={DESCRIPTION: BEGINNING + format_verdict(comparison, judged)})
