"""What mattered in a comparison: shares of the variance of its scores, or with few trials the trials themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.report.variance import Decomposition, Factor, Population, ShareInterval, decomposed, factor_of
from gensweep.report.wording import counted

if TYPE_CHECKING:
    from gensweep.report.comparison import Comparison
    from gensweep.report.ranked_trials import RankedTrial

#: Fewer finished trials tell nothing about what mattered.
MIN_FINISHED = 10
#: Metrics that are distances, above 0 and about as uncertain as they are large: their logarithm is looked at.  Others,
#: such as bits per dimension, a kernel distance or a rate, can be 0 or below and are taken as they are.
LOG_METRICS = ("fd", "fid", "fd_by_class")
#: What the sweeps of one family are called among its settings.
SWEEP = "sweep"


@dataclass(frozen=True)
class SettingShare:
    """The share of the variance of all scores that one setting explains within its family."""

    setting: str
    family: str
    estimate: ShareInterval


@dataclass(frozen=True)
class VarianceShares:
    """Where the variance of a comparison's scores comes from.

    `family` is the share between families, None if there is one only.  `settings` are within families, largest first;
    the `rest` is interactions and noise; together they are 1.  Scores of `finished` trials count, and of those that
    were `stopped` early the scores that they had reached; `log` says whether their logarithm was looked at.
    """

    family: ShareInterval | None
    settings: tuple[SettingShare, ...]
    rest: ShareInterval
    finished: int
    stopped: int
    log: bool


@dataclass(frozen=True)
class SettingScores:
    """Trials by the value that one setting has in each, by the groups of a comparison."""

    setting: str
    groups: Mapping[str, Sequence[tuple[Any, RankedTrial]]]


def importance(comparison: Comparison) -> VarianceShares | None:
    """What mattered; None if it cannot be told, as with fewer than MIN_FINISHED finished trials."""
    entries = [entry for entry in comparison.entries if entry.trial.status in ("finished", "pruned")]
    finished = sum(entry.trial.status == "finished" for entry in entries)
    scores, log = _scores(entries)
    if finished < MIN_FINISHED or len(set(scores)) < 2:
        return None
    rows: dict[str, list[int]] = {}
    for row, entry in enumerate(entries):
        rows.setdefault(entry.trial.family, []).append(row)
    settings = [{**entry.trial.params, SWEEP: comparison.sweep_of(entry.trial)} for entry in entries]
    found = decomposed(_population(settings, scores, rows))
    if found.between is None and not found.within:
        return None
    return VarianceShares(found.between, _settings(found), found.rest, finished, len(entries) - finished, log)


def importance_words(found: VarianceShares, title: str) -> str:
    """How the shares of an importance are to be read; `title` is that of the scores."""
    trials = counted(found.finished + found.stopped, "trial")
    if found.stopped:
        trials += (
            f" ({found.stopped} of them stopped early because they were behind, with the scores that they had then)"
        )
    measure = f"the logarithm of {title}" if found.log else title
    return (
        f"Where the variance of {measure} among {trials} comes from, with 95 % intervals. Each share is that of one "
        "setting alone, in the order of its values; what settings do together, and chance, is the rest. "
        "An interval that reaches 0 says that the setting may not matter at all."
    )


def settings_and_scores(comparison: Comparison) -> list[SettingScores]:
    """The trials themselves, where they are too few for shares: by each setting that varies within a group."""
    found: dict[str, dict[str, list[tuple[Any, RankedTrial]]]] = {}
    for group, entries in comparison.groups.items():
        for key in dict.fromkeys(key for entry in entries for key in entry.differs):
            having = [(entry.trial.params[key], entry) for entry in entries if key in entry.trial.params]
            if len({repr(value) for value, _ in having}) > 1:
                found.setdefault(key, {})[group] = having
    return [SettingScores(key, groups) for key, groups in found.items()]


def _scores(entries: Sequence[RankedTrial]) -> tuple[list[float], bool]:
    values = [entry.score.value for entry in entries]
    log = bool(values) and entries[0].score.metric in LOG_METRICS and min(values) > 0
    return [math.log(value) for value in values] if log else values, log


def _population(
    settings: Sequence[Mapping[str, Any]], scores: Sequence[float], rows: Mapping[str, Sequence[int]]
) -> Population:
    import numpy as np

    factors = {family: _factors(settings, listed) for family, listed in rows.items()}
    return Population(np.array(scores), {family: np.array(listed) for family, listed in rows.items()}, factors)


def _factors(settings: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> list[Factor]:
    """The settings that vary among trials of a family.

    One that only a branch has is a factor of the trials that took the branch, however deep it lies.
    """
    having: dict[str, list[int]] = {}
    for row in rows:
        for key in settings[row]:
            having.setdefault(key, []).append(row)
    factors = [factor_of(key, listed, [settings[row][key] for row in listed]) for key, listed in having.items()]
    return [factor for factor in factors if factor is not None]


def _settings(found: Decomposition) -> tuple[SettingShare, ...]:
    shares = [SettingShare(setting, family, share) for (family, setting), share in found.within.items()]
    return tuple(sorted(shares, key=lambda each: each.estimate.share, reverse=True))
