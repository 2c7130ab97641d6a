"""The verdict on each sweep, filed with its run in MLflow: as its description, with the report and its figures."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.report.budget_verdict import judge
from gensweep.report.comparison import compare
from gensweep.report.figure_files import figure_files
from gensweep.report.html import write_report
from gensweep.report.verdict import verdict_words
from gensweep.scratch import scratch_folder
from gensweep.tracking.records import SweepRecord
from gensweep.tracking.run_writer import RunWriter
from gensweep.tracking.store import client, explaining_errors, remember_runs
from gensweep.tracking.tags import POSITION, REPORTED

logger = logging.getLogger(__name__)

#: The folder of a run's artifacts that holds the report.
REPORT = "report"
#: MLflow's tag of a run's description, and how one begins that was written here: one that a person wrote stays.
DESCRIPTION, BEGINNING = "mlflow.note.content", "**Verdict.** "


def file_reports(sweeps: Iterable[SweepRecord]) -> None:
    """File the report of each sweep that has ended and whose run has none of its present log.

    Never raises: what cannot be filed now is filed the next time.
    """
    unfiled = [sweep for sweep in sweeps if not sweep.reported and sweep.status != "running"]
    for sweep in unfiled:
        try:
            _file_report(sweep)
        except NothingToCompareError:
            continue
        except GensweepError as error:
            logger.warning("%s", error)
    if unfiled:
        remember_runs()


def _file_report(sweep: SweepRecord) -> None:
    comparison = compare([sweep], asked=True)
    judged = judge(comparison)
    with scratch_folder("report") as aside, explaining_errors(f"the report of {sweep.name} is not in MLflow (CAUSE)"):
        folder = aside / REPORT
        folder.mkdir()
        write_report(comparison, judged, folder / "report.html")
        _write_figures(figure_files(comparison, judged), folder)
        store = client()
        run = RunWriter(store, store.get_run(sweep.run_id))
        store.log_artifacts(sweep.run_id, str(folder), REPORT)
        described = run.tags.get(DESCRIPTION, "")
        if not described or described.startswith(BEGINNING):
            run.log(tags={DESCRIPTION: BEGINNING + verdict_words(comparison, judged)})
        run.log(tags={REPORTED: run.tags.get(POSITION)})


def _write_figures(figures: dict[str, str], folder: Path) -> None:
    for name, svg in figures.items():
        (folder / name).write_text(svg, encoding="utf-8")
