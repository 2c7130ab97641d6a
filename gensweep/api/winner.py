"""The best of a sweep, scored once more when it has ended: on fresh seeds, and as its section `final` says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from gensweep.config import SweepConfig
from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.report.wording import further_words, score
from gensweep.rescoring.rescorer import Axes
from gensweep.rescoring.sampling_axes import rescore, subject_of
from gensweep.sweep.cluster_task import has_cluster
from gensweep.sweep.folder import SweepFolder
from gensweep.tracking.runs import best_trial, sweep_in
from gensweep.tracking.sync import sync
from gensweep.training.device import default_device

#: A seed of noise that no evaluation of a training has seen; theirs is 0.
FRESH_SEED = 1


def score_winner(sweep: SweepConfig, root: Path, *, several: bool) -> None:
    """Score the winner on fresh seeds, and as the sweep's `final` says, or say how to.

    It was chosen of several because its score was low, partly by chance.
    """
    final = dict(sweep.final_settings)
    samples = final.pop("evaluation.samples", None)
    wanted: list[dict[str, Any]] = [{}] if sweep.rescore and several else []
    wanted += [{"samples": samples, "changed": final}] if sweep.final is not None else []
    for settings in wanted:
        _rescore(sweep, root, settings)


def _rescore(sweep: SweepConfig, root: Path, settings: dict[str, Any]) -> None:
    command = _evaluate_command(sweep.name, **settings)
    if sweep.resources.gpus_per_worker and not has_cluster() and default_device().type != "cuda":
        click.echo(f"To score the winner on fresh seeds, on a machine with a GPU: {command}", err=True)
        return
    try:
        sync(folder := SweepFolder(root, sweep.name))
        best = best_trial(sweep_in(folder))
        (found,) = rescore([subject_of(best, seed=FRESH_SEED, **settings)], Axes(), command)
    except NothingToCompareError:
        return
    except GensweepError as error:
        click.echo(f"Note: the winner was not scored on fresh seeds ({error}); to do it: {command}", err=True)
        return
    if settings:
        words = "; ".join(map(further_words, found.outcome.scores.values()))
    else:
        was = "" if best.objective is None else f" (it was chosen with {score(best.objective.value)})"
        words = f"{score(found.score.value)}{was}"
    click.echo(f"{best.name} on fresh seeds: {words}", err=True)


def _evaluate_command(name: str, *, samples: int | None = None, changed: Mapping[str, Any] | None = None) -> str:
    """What scores the best of a sweep with these settings from the command line."""
    changes = [f"{key}={json.dumps(value)}" for key, value in (changed or {}).items()]
    parts = ["gensweep", "evaluate", name, "--seed", str(FRESH_SEED)]
    parts += [] if samples is None else ["--samples", str(samples)]
    return shlex.join([*parts, *(part for change in changes for part in ("--set", change))])
