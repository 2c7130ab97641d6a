"""Commands that repeat a result or make it comparable, and why trials are left out."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.config.tree import flatten
from gensweep.config.yaml import read_value
from gensweep.errors import GensweepError
from gensweep.report.wording import counted
from gensweep.sweep.stored_sweeps import command_of, trial_config
from gensweep.sweep.trial_state import TrialState

if TYPE_CHECKING:
    from gensweep.verdict.comparison import Comparison, LeftOut

#: Settings that decide each part of a score's identity.
SETTINGS = {
    "metric": ("evaluation.metrics", "evaluation.likelihood."),
    "extractor": ("evaluation.extractor.",),
    "samples": ("evaluation.samples", "evaluation.likelihood.images"),
    "timesteps": ("evaluation.likelihood.timesteps",),
    "latents": ("evaluation.likelihood.latents",),
    "reference": ("data.", "evaluation.against", "evaluation.likelihood.split"),
    "weights": ("training.ema_half_life",),
}


def reproduce_command(trial: TrialState) -> str:
    """Command that repeats the training, or scores the same images again."""
    if trial.imported:
        return f"{command_of(trial)} --replace"
    return f"gensweep train --from-run {shlex.quote(trial.name)}"


def rerun_command(found: TrialState, like: TrialState) -> str:
    """Command that trains `found` again with the evaluation settings of `like`."""
    assert found.score is not None
    assert like.score is not None
    own, wanted = (dict(flatten(trial_config(trial))) for trial in (found, like))
    parts = found.score.identity.differences(like.score.identity)
    prefixes = tuple(prefix for part in parts for prefix in SETTINGS.get(part, ()))
    differing = [key for key, value in wanted.items() if key.startswith(prefixes) and value != own.get(key)]
    differing.sort(key=lambda key: not key.endswith(".kind"))  # a kind resets the settings of its section
    sets = [word for key in differing for word in ("--set", f"{key}={_yaml(wanted[key])}")]
    return shlex.join(["gensweep", "train", "--from-run", found.name, *sets])


def _yaml(value: Any) -> str:
    """The value of a setting for `--set KEY=`."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if read_value(text, "") == (value, []) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class LeftOutReason:
    """Name of a sweep, why some of its trials are left out, and the command that makes them comparable."""

    sweep: str
    reason: str
    command: str | None = None


def left_out_reasons(comparison: Comparison) -> list[LeftOutReason]:
    """The reason for each sweep of which a comparison leaves trials out."""
    return [_reason(item) for item in comparison.not_comparable]


def refuse_unlike(comparison: Comparison) -> None:
    """Raise GensweepError if a sweep has scores, but none that can be ranked with the others."""
    others, lines = ", ".join(sweep.name for sweep in comparison.sweeps), []
    for item, found in zip(comparison.not_comparable, left_out_reasons(comparison), strict=True):
        if item.sweep not in comparison.sweeps and item.reason != "no score":
            alone = f"to see it alone, run: gensweep best {found.sweep}"
            way = f"to make it comparable, run: {found.command}" if found.command else alone
            lines.append(f"{found.sweep} cannot be compared with {others}: {found.reason}; {way}")
    if lines:
        raise GensweepError("\n".join(lines))


def _reason(item: LeftOut) -> LeftOutReason:
    sweep, first = item.sweep, item.trials[0] if item.trials else None
    some = f"{len(item.trials)} of {item.scored} trials" if len(item.trials) < item.scored else ""
    if first is None or item.reason == "no score":
        failed, trials = sum(trial.status == "failed" for trial in sweep.trials), counted(len(sweep.trials), "trial")
        return LeftOutReason(sweep.name, f"no trial has a score ({trials}, {failed} failed)")
    if item.reason == "limits":
        limits = f"({first.trial}: {'; '.join(first.broken_limits)})"
        return LeftOutReason(sweep.name, f"{some or 'all trials'} break a limit {limits}")
    reason = f"scores of another kind ({_difference(first, item.like)})"
    command = (
        f"{reproduce_command(first)} --like {shlex.quote(item.like.sweep)}"
        if first.imported
        else rerun_command(first, item.like)
    )
    return LeftOutReason(sweep.name, f"{some}: {reason}" if some else reason, command)


def _difference(found: TrialState, like: TrialState) -> str:
    """How the identities of two scores differ."""
    theirs, ours = found.score, like.score
    assert theirs is not None
    assert ours is not None
    if theirs.metric != ours.metric or theirs.mode != ours.mode:
        return f"objective: {theirs.metric} ({theirs.mode}) against {ours.metric} ({ours.mode})"
    return "; ".join(theirs.identity.differences(ours.identity).values())
