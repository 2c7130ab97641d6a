"""The winner of a comparison in MLflow's model registry, and the alias by which it is served."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gensweep.api.verdicts import Verdict
from gensweep.compute.standings import chances_of_best
from gensweep.report.wording import SURE
from gensweep.tracking.logged_models import CHAMPION, MODEL_URI, model_of, register
from gensweep.tracking.runs import checkpoint_folder, trained_trial
from gensweep.tracking.store import client, explaining_errors

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

    from gensweep.results import Score


def register_winner(verdict: Verdict, name: str) -> str:
    """Register the winner under a name in MLflow, and let the alias `champion` name it if it is surely the best.

    The alias stays where it is while the verdict is too close to call or does not look at the model that has it, and
    if the winner's own score is not surely better than that model's.
    Returns what was done, in a sentence.  Raises GensweepError if the winner was not trained here or MLflow refuses.
    """
    trial = trained_trial(verdict.winner)
    store = client()
    with explaining_errors(f"{trial.name} was not registered as {name!r}: CAUSE"):
        run = store.get_run(trial.run_id)
        objective = run.data.tags.get("gensweep.objective_images", "")
        model = model_of(store, run, objective, lambda: checkpoint_folder(trial))
        version = register(store, model, name, verdict.words)
        done = f"{trial.name} is version {version.version} of {name}"
        champion = _champion(store, name)
        if champion is None or (champion.version != version.version and _beats(verdict, champion)):
            store.set_registered_model_alias(name, CHAMPION, version.version)
            champion = None
    if champion is None or champion.version == version.version:
        served = shlex.quote(f"{MODEL_URI}{name}@{CHAMPION}")
        return f"{done} and its {CHAMPION}: mlflow models serve -m {served} --env-manager local"
    stays = f"{done}; its {CHAMPION} stays version {champion.version}"
    if champion.run_id not in _ranked(verdict):
        return f"{stays}, which this verdict does not look at: name its sweep, too, with --compare"
    if verdict.too_close:
        return f"{stays}, as the verdict is too close to call"
    return f"{stays}, whose score is not surely worse"


def _champion(store: MlflowClient, name: str) -> ModelVersion | None:
    version = store.get_registered_model(name).aliases.get(CHAMPION)
    return None if version is None else store.get_model_version(name, version)


def _ranked(verdict: Verdict) -> set[str]:
    return {entry.trial.run_id for entry in verdict.comparison.entries}


def _beats(verdict: Verdict, champion: ModelVersion) -> bool:
    """Whether the winner may take the champion's place: a better checkpoint of the same run does."""
    if champion.run_id == verdict.winner.run_id:
        return True
    other = next((each.score for each in verdict.comparison.entries if each.trial.run_id == champion.run_id), None)
    return other is not None and not verdict.too_close and _surely_better(verdict.judged.winner.score, other)


def _surely_better(score: Score, than: Score) -> bool:
    """Whether a model's score is better than another's by more than chance.

    A sure verdict says it of the winner's group, one of whose models may still be worse than one of another group.
    """
    pair = score, than
    errors = [each.error for each in pair if each.error is not None]
    return len(errors) == len(pair) and bool(chances_of_best([each.order for each in pair], errors)[0] >= SURE)
