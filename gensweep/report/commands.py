"""Commands that repeat a result, or make one comparable, as a person would type them."""

from __future__ import annotations

import shlex

from gensweep.results import Score
from gensweep.tracking.records import SweepRecord, TrialRecord


def reproduce_command(trial: TrialRecord) -> str:
    """The command that trains the same configuration again, or evaluates the same images."""
    return evaluate_command(trial) if trial.imported else f"gensweep train --from-run {shlex.quote(trial.name)}"


def evaluate_command(trial: TrialRecord, like: str | None = None) -> str:
    """The command that evaluates imported images again, as those of `like` were; by default as they were."""
    words, config = ["gensweep", "evaluate"], trial.config
    path = config.get("family.path", "FOLDER")
    if trial.family == "folder":
        words.append(path)
    else:
        words += ["--torchscript", path, "--latent", config.get("family.latent", "").strip("[]").replace(" ", "")]
        if (classes := config.get("family.classes", "null")) != "null":
            words += ["--classes", classes]
        if (values := config.get("family.output_range", "null")) != "null":
            words.append(f"--output-range={values.strip('[]').replace(' ', '')}")
        if (seed := config.get("seed", "0")) != "0":
            words += ["--seed", seed]
    return shlex.join([*words, "--like", like or trial.sweep, "--name", trial.sweep, "--replace"])


def search_again_command(sweep: SweepRecord, wanted: Score, found: Score, *, early: bool) -> str:
    """The command that gives a sweep's trials scores of the wanted kind.

    With `early` those that were `found` are of trials that never came to their end.
    """
    identity, changes = wanted.identity, [f"name={sweep.name}-2"]
    likelihood = identity.timesteps is not None
    for part in identity.differences(found.identity):
        value = getattr(identity, part)
        if part in ("samples", "steps") and early:
            changes.append(f"evaluation.rung_{part}=null")
        elif part == "samples":
            changes.append(f"evaluation.likelihood.images={value}" if likelihood else f"evaluation.samples={value}")
        elif part == "timesteps" and likelihood:
            changes.append(f"evaluation.likelihood.timesteps={'null' if value == 'all' else value}")
        elif part == "extractor" and value is not None:
            changes.append(f"evaluation.extractor.kind={value.partition('/')[0]}")
        elif part == "reference":
            changes.append(f"data.kind={value.partition('#')[0].partition('/')[0].split()[0]}")
    if wanted.metric != found.metric:
        changes.append(f"objective.metric={wanted.metric}")
    words = shlex.split(sweep.command) if sweep.command.startswith("gensweep ") else ["gensweep", "tune", "FILE"]
    return shlex.join([*words, *(word for change in changes for word in ("--set", change))])
