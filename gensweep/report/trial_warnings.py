"""Warnings of trials whose score hides a collapse or copies, is that of noise, or never got better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gensweep.sweep.trial_state import TrialState

#: Samples have collapsed if their diversity, as a share of that of real images, is less than this.
MIN_DIVERSITY = 0.2
#: A discriminator with at least this accuracy on real and on generated images has nothing to teach the generator.
MAX_ACCURACY = 0.99
#: A posterior has collapsed if at least this share of its latent units say less than 0.01 nats about an image.
MAX_COLLAPSED_UNITS = 0.5
#: A model has memorised if more than this share of its samples look like copies.  Of unseen real images 0.21 did with
#: 20 training images, each far from the others, and 0.01 with 5,000.
MAX_COPIED_SHARE = 1 / 3


def warnings_of(signals: Mapping[str, float]) -> list[str]:
    """Warnings, one a line; none if all is well, or if nothing is known."""
    found = []
    diversity = signals.get("diversity")
    if diversity is not None and diversity < MIN_DIVERSITY:
        found.append(f"collapsed: samples are {_percent(diversity)} as diverse as real images")
    copied = signals.get("authpct/memorised", 0.0)
    if copied > MAX_COPIED_SHARE:
        found.append(f"memorised: {_percent(copied)} of samples are as near to a training image as copies are")
    right = [signals.get(f"signal/accuracy_{kind}") for kind in ("real", "fake")]
    if all(share is not None and share >= MAX_ACCURACY for share in right):
        real, fake = (_percent(share or 0.0) for share in right)
        found.append(f"the discriminator wins: right on {real} of real and {fake} of generated images")
    silent = signals.get("signal/collapsed_units", 0.0)
    if silent >= MAX_COLLAPSED_UNITS:
        found.append(f"posterior collapse: {_percent(silent)} of the latent units say nothing about an image")
    return found


def trial_warnings(trial: TrialState) -> list[str]:
    """Warnings of a trial, one a line: of its limits, its score, its course, and the signals of its best evaluation."""
    score = trial.score
    found = [] if score is None else [f"breaks a limit: {words}" for words in trial.broken_limits]
    if score is not None and score.ceiling is not None and score.like_noise:
        found.append(f"draws noise so far: its score is that of {score.ceiling.source}")
    if trial.never_improved:
        found.append("never got better than at its first evaluation")
    return found + warnings_of(trial.signals)


def format_diversity(signals: Mapping[str, float]) -> str:
    """Diversity for a cell of a table, marked if it has collapsed; "-" if it is not known."""
    diversity = signals.get("diversity")
    if diversity is None:
        return "-"
    return _percent(diversity) + (", collapsed" if diversity < MIN_DIVERSITY else "")


def _percent(share: float) -> str:
    return f"{round(100 * share, 1 if share < 0.0995 else 0):g} %"
