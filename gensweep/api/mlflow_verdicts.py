"""The verdict in MLflow: the report of each sweep, and the recommended trial in the model registry."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from filelock import Timeout

from gensweep.api.verdicts import Verdict, known_price
from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.files import scratch_folder
from gensweep.report.html import write_report
from gensweep.report.verdict import format_best_score, format_verdict
from gensweep.sweep.stored_sweeps import MODEL_URI, StoredSweep, trained_trial, trial_checkpoint
from gensweep.tracking.logged_models import CHAMPION, model_of, register
from gensweep.tracking.run_writer import RunWriter
from gensweep.tracking.store import check_store, client, explaining_errors, runs_of, store_name
from gensweep.tracking.sweep_copy import SWEEP, Sent
from gensweep.tracking.sync import send
from gensweep.tracking.tags import DESCRIPTION, SWEEP_ID, TRIAL
from gensweep.verdict.comparison import compare
from gensweep.verdict.recommendation import SURE, recommend
from gensweep.verdict.standings import chances_of_best

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from gensweep.verdict.comparison import RankedTrial

logger = logging.getLogger(__name__)

#: The folder of the report among a run's artifacts.
REPORT = "report"
#: The start of gensweep's descriptions; a user's description stays.
BEGINNING = "**Verdict.** "


def file_reports(sweeps: Iterable[StoredSweep]) -> None:
    """File the report of each ended sweep that lacks it and whose run is up to date; later commands file the others."""
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
    judged = replace(recommend(comparison), price=known_price(comparison))
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


def register_recommended(verdict: Verdict, name: str) -> str:
    """Register the recommended trial under a name in MLflow, as `champion` if it is certainly the best.

    The alias does not move if the verdict is too close to call or excludes the current champion, or if the trial's
    own score is not certainly better than the champion's.
    Returns a message.  Raises GensweepError if the trial was not trained here or MLflow refuses.
    """
    trial = trained_trial(verdict.recommended)
    with explaining_errors(f"{trial.name} was not registered as {name!r}: CAUSE"):
        folder = trial_checkpoint(trial)
        assert trial.folder is not None
        assert trial.best is not None  # it has a checkpoint
        send(trial.folder)
        if not (runs := runs_of(store := client(), str(trial.folder.sweep_id), trial.trial)):
            raise GensweepError("MLflow has no run of it yet; wait until its sweep has sent it")
        model = model_of(store, runs[-1], trial.best.evaluation.images, folder)
        version = register(store, model, name, verdict.words)
        best = format_best_score(verdict.comparison, verdict.judged)
        done = f"{'' if best is None else f'{best}. '}{trial.name} is version {version.version} of {name}"
        alias = store.get_registered_model(name).aliases.get(CHAMPION)
        champion = None if alias is None else store.get_model_version(name, alias)
        theirs = None if champion is None else _trial_of(store, champion, verdict)
        if champion is None or (champion.version != version.version and _beats(verdict, theirs)):
            store.set_registered_model_alias(name, CHAMPION, version.version)
            champion = None
    if champion is None or champion.version == version.version:
        served = shlex.quote(f"{MODEL_URI}{name}@{CHAMPION}")
        return f"{done} and now the {CHAMPION}; to serve it: mlflow models serve -m {served} --env-manager local"
    stays = f"{done}; the {CHAMPION} is still version {champion.version}"
    if theirs is None:
        return f"{stays}, which is not part of this comparison; add its sweep to --compare"
    if verdict.too_close:
        return f"{stays}, as the verdict is too close to call"
    if verdict.judged.second_look.outcome == "contested":
        return f"{stays}, as other measures contest the verdict"
    return f"{stays}, whose score is not certainly worse"


def _trial_of(store: MlflowClient, version: ModelVersion, verdict: Verdict) -> RankedTrial | None:
    """The ranked trial of a model's version; None if it is not part of the comparison."""
    tags = store.get_run(str(version.run_id)).data.tags
    names = {sweep.folder.sweep_id: sweep.name for sweep in verdict.comparison.sweeps}
    name = f"{names.get(tags.get(SWEEP_ID))}/{tags.get(TRIAL)}"
    return next((each for each in verdict.comparison.entries if each.trial.name == name), None)


def _beats(verdict: Verdict, champion: RankedTrial | None) -> bool:
    """True if the recommended trial may replace the champion; a better checkpoint of the same run may."""
    if champion is None or champion.trial is verdict.recommended:
        return champion is not None
    # A certain verdict is about a group; one of its models may still be worse than one of another group.
    pair = verdict.judged.recommended.score, champion.score
    errors = [each.error for each in pair if each.error is not None]
    contested = verdict.judged.second_look.outcome == "contested"
    known = not (verdict.too_close or contested) and len(errors) == len(pair)
    return known and bool(chances_of_best([each.order for each in pair], errors)[0] >= SURE)
