"""Scores of later evaluations: into the log of the sweep that a run belongs to, and how MLflow shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gensweep.errors import GensweepError
from gensweep.results import OUTCOMES_FORMAT, Outcome, Score
from gensweep.sweep.events import ScoredAgain
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import TrialState
from gensweep.tracking.store import client

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from gensweep.tracking.sweeps import Sweep, Trial

__all__ = [
    "curve_name",
    "file_outcomes",
    "newest_on_fresh_seeds",
    "outcome_metrics",
    "outcomes_text",
    "sweep_folder",
]


def file_outcomes(trial: Trial, outcomes: Sequence[Outcome]) -> None:
    """Note what was measured on a trial's checkpoint in the log of its sweep, from where it goes to MLflow.

    If the sweep's folder is not on this machine, MLflow alone is told.  Noting something again changes nothing.  Raises
    GensweepError if it cannot be noted.
    """
    from mlflow.exceptions import MlflowException

    folder = sweep_folder(trial)
    if folder is not None:
        known = folder.state().trials[trial.trial].outcomes
        for outcome in outcomes:
            if outcome not in known:
                folder.log.append(ScoredAgain(trial.trial, outcome))
        return
    metrics = [metric for outcome in outcomes for metric in outcome_metrics(outcome)]
    try:
        for start in range(0, len(metrics), 1000):
            client().log_batch(trial.run_id, metrics[start : start + 1000], synchronous=True)
        client().log_text(trial.run_id, outcomes_text(outcomes), "evaluations.json")
    except (MlflowException, OSError) as error:
        cause = str(error).strip().partition("\n")[0][:300]
        raise GensweepError(f"MLflow did not take the results ({cause}); the next call files them") from error


def sweep_folder(run: Trial | Sweep) -> SweepFolder | None:
    """The folder of the sweep that a run is or belongs to, if it is on this machine."""
    if run.folder is None:
        return None
    path = Path(run.folder)
    try:
        folder = SweepFolder(path.parent, path.name)
        entry = next(folder.log.read(), None)
    except GensweepError:
        return None
    # A later sweep of the same name may have taken the place of the one that this run belongs to.
    return folder if entry is not None and getattr(entry.event, "sweep_id", None) == run.sweep_id else None


def outcome_metrics(outcome: Outcome) -> list[Metric]:
    """The scores of an outcome, at the number of network evaluations of an image."""
    from mlflow.entities import Metric

    # The store tells repeated metrics by key, step, value and time.
    step, time = outcome.sampling.evaluations, int(outcome.time * 1000)
    return [Metric(curve_name(outcome, name), score.value, time, step) for name, score in outcome.scores.items()]


def outcomes_text(outcomes: Sequence[Outcome]) -> str:
    """Outcomes as the JSON of a file."""
    return json.dumps({"format": OUTCOMES_FORMAT, "outcomes": [each.as_dict() for each in outcomes]}, indent=1) + "\n"


def newest_on_fresh_seeds(trial: TrialState) -> Score | None:
    """The newest score of a trial's best checkpoint on other seeds than 0 that is of its objective's identity."""
    objective = trial.objective
    if objective is None:
        return None
    metric, identity = objective.metric, objective.identity
    fresh = [
        outcome
        for outcome in trial.outcomes
        if outcome.seed and outcome.usual and metric in outcome.scores and outcome.scores[metric].identity == identity
    ]
    return max(fresh, key=lambda outcome: outcome.time).scores[metric] if fresh else None


def curve_name(outcome: Outcome, score: str) -> str:
    """One name for each curve of a score over network evaluations: "evaluate/fd of 500/heun, guidance 2, ema-0.25"."""
    sampling = outcome.sampling
    words = [
        sampling.sampler or "",
        "" if sampling.guidance is None else f"guidance {sampling.guidance:g}",
        sampling.weights,
        f"seed {outcome.seed}" if outcome.seed else "",
        f"against {outcome.changed['evaluation.against']}" if "evaluation.against" in outcome.changed else "",
    ]
    name = f"evaluate/{score} of {outcome.samples}/{' '.join(word for word in words if word)}"
    return re.sub(r"[^/\w.\- :]", "-", name)
