"""What mattered in a comparison: shares of the variance of its scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.verdict.variance import Factor, Population, ShareInterval, decomposed, factor_of

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

    from gensweep.verdict.comparison import Comparison

#: Fewer finished trials tell nothing about what mattered.
MIN_FINISHED = 10
#: Metrics that are distances, above 0 and about as uncertain as they are large: their logarithm is looked at.  Others,
#: such as bits per dimension, a kernel distance or a rate, can be 0 or below and are taken as they are.
LOG_METRICS = ("fd", "fid", "fd_by_class")
#: The name of the sweep among the settings of a family.
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
    were `stopped` early the scores that they had reached; `log` says whether their logarithm was looked at.  `clones`
    changed their settings during training and are left out.
    """

    family: ShareInterval | None
    settings: tuple[SettingShare, ...]
    rest: ShareInterval
    finished: int
    stopped: int
    log: bool
    clones: int = 0


def importance(comparison: Comparison) -> VarianceShares | None:
    """What mattered; None if it cannot be told, as with fewer than MIN_FINISHED finished trials."""
    import numpy as np

    ended = [entry for entry in comparison.entries if entry.trial.status in ("finished", "pruned")]
    entries = [entry for entry in ended if not entry.trial.lineage]
    finished = sum(entry.trial.status == "finished" for entry in entries)
    values = [entry.score.value for entry in entries]
    log = bool(values) and entries[0].score.metric in LOG_METRICS and min(values) > 0
    scores = [math.log(value) for value in values] if log else values
    if finished < MIN_FINISHED or len(set(scores)) < 2:
        return None
    rows: dict[str, list[int]] = {}
    for row, entry in enumerate(entries):
        rows.setdefault(entry.trial.family, []).append(row)
    settings = [{**entry.trial.at_best.params, SWEEP: entry.trial.sweep} for entry in entries]
    y = np.array(scores)
    factors = {family: _factors(settings, y, listed) for family, listed in rows.items()}
    found = decomposed(Population(y, {family: np.array(listed) for family, listed in rows.items()}, factors))
    if found.between is None and not found.within:
        return None
    stopped, clones = len(entries) - finished, len(ended) - len(entries)
    shares = [SettingShare(setting, family, share) for (family, setting), share in found.within.items()]
    largest_first = tuple(sorted(shares, key=lambda each: each.estimate.share, reverse=True))
    return VarianceShares(found.between, largest_first, found.rest, finished, stopped, log, clones)


def _factors(settings: Sequence[Mapping[str, Any]], y: Float[np.ndarray, " n"], rows: Sequence[int]) -> list[Factor]:
    """The settings that vary among trials of a family.

    One that only a branch has is a factor of the trials that took the branch, however deep it lies.
    """
    having: dict[str, list[int]] = {}
    for row in rows:
        for key in settings[row]:
            having.setdefault(key, []).append(row)
    factors = [factor_of(key, listed, [settings[row][key] for row in listed], y) for key, listed in having.items()]
    return [factor for factor in factors if factor is not None]
