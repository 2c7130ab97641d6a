"""Commands that repeat a result, as a person would type them."""

from __future__ import annotations

import shlex

from gensweep.tracking.records import TrialRecord

__all__ = ["evaluate_command", "reproduce_command"]


def reproduce_command(trial: TrialRecord) -> str:
    """The command that trains the same configuration again, or judges the same images."""
    return evaluate_command(trial) if trial.imported else f"gensweep train --from-run {shlex.quote(trial.name)}"


def evaluate_command(trial: TrialRecord, like: str | None = None) -> str:
    """The command that judges the images of an entry again, as those of `like` were; by default as they were."""
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
