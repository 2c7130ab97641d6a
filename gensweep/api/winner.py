"""The best of a sweep, scored once more when it has ended: on fresh seeds, and as its section `final` says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from gensweep.config import SweepConfig
from gensweep.errors import GensweepError, NothingToCompareError
from gensweep.report.wording import format_further, score
from gensweep.rescoring.rescorer import Axes
from gensweep.rescoring.sampling_axes import rescore, subject_of
from gensweep.run.near_gpus import has_cluster
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.stored_sweeps import read_sweep
from gensweep.training.device import default_device

#: A seed of noise that no evaluation of a training has seen; theirs is 0.
FRESH_SEED = 1


def score_best(sweep: SweepConfig, root: Path, *, several: bool) -> None:
    """Score the best trial on fresh seeds, and as the sweep's `final` says, or say how to.

    It was chosen of several because its score was low, partly by chance.
    """
    final = dict(sweep.final_settings)
    samples = final.pop("evaluation.samples", None)
    wanted: list[dict[str, Any]] = [{}] if sweep.rescore and several else []
    wanted += [{"samples": samples, "changed": final}] if sweep.final is not None else []
    for settings in wanted:
        _rescore(sweep, root, settings)


def _rescore(sweep: SweepConfig, root: Path, settings: dict[str, Any]) -> None:
    words = ["gensweep", "evaluate", sweep.name, "--seed", str(FRESH_SEED)]
    words += ["--samples", str(settings["samples"])] if settings.get("samples") else []
    changes = settings.get("changed", {}).items()
    command = shlex.join(
        [*words, *(word for key, value in changes for word in ("--set", f"{key}={json.dumps(value)}"))]
    )
    if sweep.resources.gpus_per_worker and not has_cluster() and default_device().type != "cuda":
        click.echo(f"To score the best trial on fresh seeds, on a machine with a GPU: {command}", err=True)
        return
    try:
        best = read_sweep(SweepFolder(root, sweep.name)).best
        (found,) = rescore(subject_of(best, seed=FRESH_SEED, **settings), Axes(), command)
    except NothingToCompareError:
        return
    except GensweepError as error:
        click.echo(f"Note: the best trial was not scored on fresh seeds ({error}); to do it: {command}", err=True)
        return
    if settings:
        said = "; ".join(map(format_further, found.outcome.scores.values()))
    else:
        was = "" if best.score is None else f" (it was chosen with {score(best.score.value)})"
        said = f"{score(found.score.value)}{was}"
    click.echo(f"{best.name} on fresh seeds: {said}", err=True)
