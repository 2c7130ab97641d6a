"""What was measured on a run after its training, filed under the run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gensweep.errors import GensweepError
from gensweep.tracking.store import client

if TYPE_CHECKING:
    from gensweep.build.outcomes import Outcome
    from gensweep.tracking.sweeps import Trial

__all__ = ["file_interpretation", "file_outcomes", "file_rescored", "metric_name"]

#: The folder among a run's artifacts that holds what was found inside its networks.
INTERPRETATION = "interpretation"


def file_outcomes(run_id: str, outcomes: Sequence[Outcome], file: Path) -> None:
    """File outcomes under a run: scores as metrics at steps of network evaluations, and the file as an artifact.

    The file says of each score what it is a score of.  Filing something again changes nothing.  Raises GensweepError if
    the store does not take it.
    """
    from mlflow.entities import Metric
    from mlflow.exceptions import MlflowException

    # The store tells repeated metrics by key, step, value and time.
    metrics = [
        Metric(metric_name(outcome, name), value, int(outcome.time * 1000), outcome.alternative.evaluations)
        for outcome in outcomes
        for name, value in outcome.scores.items()
    ]
    store = client()
    try:
        for start in range(0, len(metrics), 1000):
            store.log_batch(run_id, metrics[start : start + 1000], synchronous=True)
        store.log_artifact(run_id, str(file))
    except (MlflowException, OSError) as error:
        cause = str(error).strip().partition("\n")[0][:300]
        raise GensweepError(
            f"MLflow did not take the results ({cause}); they are in {file}, and the next call files them"
        ) from error


def file_interpretation(run_id: str, files: Sequence[Path]) -> None:
    """File the page, pictures and tables of `gensweep interpret` under a run, over earlier ones of the same names.

    Raises GensweepError if the store does not take them.
    """
    from mlflow.exceptions import MlflowException

    store = client()
    try:
        for file in files:
            store.log_artifact(run_id, str(file), INTERPRETATION)
    except (MlflowException, OSError) as error:
        cause = str(error).strip().partition("\n")[0][:300]
        raise GensweepError(f"MLflow did not take the page ({cause}); it is in {files[0].parent}") from error


def file_rescored(trial: Trial, outcomes: Sequence[Outcome]) -> None:
    """Note under a trial the newest score on fresh seeds that is of the same kind as its objective.

    Raises GensweepError if the store does not take it.
    """
    from mlflow.exceptions import MlflowException

    objective = trial.objective
    if objective is None or trial.imported:
        return
    metric = objective.metric
    fresh = [o for o in outcomes if o.seed and o.usual and o.identities.get(metric) == dict(objective.identity)]
    if not fresh:
        return
    newest = max(fresh, key=lambda outcome: outcome.time)
    told = {
        "metric": metric,
        "value": newest.scores[metric],
        "corrected": newest.corrected(metric),
        "error": newest.error(metric),
        "seed": newest.seed,
        "identity": newest.identities[metric],
    }
    try:
        client().set_tag(trial.run_id, "gensweep.rescored", json.dumps(told))
    except MlflowException as error:
        raise GensweepError(f"MLflow did not take the score on fresh seeds ({error}); call again") from error


def metric_name(outcome: Outcome, score: str) -> str:
    """One name for each curve of a score over network evaluations: "evaluate/fd of 500/heun, guidance 2, ema-0.25"."""
    way = outcome.alternative
    words = [
        way.sampler or "",
        "" if way.guidance is None else f"guidance {way.guidance:g}",
        way.weights,
        "" if not outcome.seed else f"seed {outcome.seed}",
        "" if "evaluation.against" not in outcome.judged else f"against {outcome.judged['evaluation.against']}",
    ]
    name = f"evaluate/{score} of {outcome.samples}/{' '.join(word for word in words if word)}"
    return re.sub(r"[^/\w.\- :]", "-", name)
