"""Importance of settings: shares of the variance of scores, by analysis of variance, with intervals.

A factor's share is its first-order term of the functional analysis of variance (Sobol' 1993; Hutter et al. 2014),
Var(E[y | factor]) / Var(y).  Categories get a one-way analysis of variance.  Numbers get a curve in their ranks: a
parabola, or a step or kink at the best knot, as in MARS (Friedman 1991).  The part explained by chance is subtracted
(epsilon squared, Kelley 1935), so factors without an effect have shares around 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from gensweep.verdict.rungs import mean_ranks

if TYPE_CHECKING:
    from gensweep.verdict.comparison import Comparison

#: Bootstrap resamples: this number of drawn rows in total, but at least a minimum.
RESAMPLES, MOST_DRAWN, MIN_RESAMPLES = 1000, 2_000_000, 200
#: Quantiles of a 95 % interval.
INTERVAL = (0.025, 0.975)
#: Residual degrees of freedom that a factor needs.
MIN_RESIDUAL_FREEDOM = 3
#: Highest power of the ranks: a setting that is best in the middle needs two.
MAX_POWER = 2
#: Degrees of freedom of the choice of a knot, besides its coefficient: Friedman 1991, section 3.6.
KNOT_FREEDOM = 3
#: Largest number of knots, and smallest number of rows on either side: one outlier is not a step.
MOST_KNOTS, MIN_SIDE = 100, 2
#: Replaces a variance of 0, relative to the share.
SMALL = 1e-12


@dataclass(frozen=True)
class Factor:
    """The values of one factor in some of the rows; `freedom` counts its coefficients and the choice of a knot."""

    name: str
    rows: Int[np.ndarray, " k"]
    basis: Float[np.ndarray, "k p"]
    freedom: int


@dataclass(frozen=True)
class Population:
    """Numbers in rows, the group of each row, and the factors within each group; the groups are also a factor."""

    y: Float[np.ndarray, " n"]
    groups: Mapping[str, Int[np.ndarray, " k"]]
    factors: Mapping[str, Sequence[Factor]]


@dataclass(frozen=True)
class ShareInterval:
    """A share of the variance and its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Decomposition:
    """Shares that sum to 1: between groups; of the factors `within` each group, the largest first; and the rest."""

    between: ShareInterval | None
    within: Mapping[tuple[str, str], ShareInterval]
    rest: ShareInterval


def factor_of(name: str, rows: Sequence[int], values: Sequence[Any], scores: Float[np.ndarray, " n"]) -> Factor | None:
    """A factor if it varies and has enough rows to separate its effect from chance, else None."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    ranks = _ranks(values) if numbers else None
    basis = _categories([repr(value) for value in values]) if ranks is None else _powers(ranks)
    if basis.shape[1] == 0 or len(rows) - 1 - basis.shape[1] < MIN_RESIDUAL_FREEDOM:
        return None
    found = Factor(name, np.array(rows), basis, basis.shape[1])
    return found if ranks is None else _with_knot(found, ranks, scores)


def decomposed(population: Population, seed: int = 0) -> Decomposition:
    """Shares of a population, with bootstrap intervals over its rows.

    The variance is split exactly into between and within groups; each factor has its share of the latter.
    """
    n = len(population.y)
    resamples = min(RESAMPLES, max(MIN_RESAMPLES, MOST_DRAWN // n))
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
    # A resample adds the chance of the rows once more, so twice that is subtracted.
    resampled = _raw_shares(population, weights, chance=2)
    variances = {key: float(np.var(np.clip(values, 0, 1))) for key, values in resampled.items()}
    shares = _feasible(population, _raw_shares(population, np.ones((1, n)), chance=1), variances)
    found = {key: _estimate(share, resampled[key]) for key, share in shares.items()}
    rest = _estimate(1 - sum(shares.values()), 1 - sum(resampled.values(), np.zeros(resamples)))
    between = found.pop(_BETWEEN, None)
    largest_first = sorted(found.items(), key=lambda each: each[1].share, reverse=True)
    return Decomposition(between, dict(largest_first), rest)


#: The key of the share between groups.
_BETWEEN = ("", "")
_Shares = dict[tuple[str, str], Float[np.ndarray, " b"]]


def _estimate(share: float, resampled: Float[np.ndarray, " b"]) -> ShareInterval:
    low, high = np.clip(np.quantile(resampled, INTERVAL), 0, 1)
    return ShareInterval(share, min(float(low), share), max(float(high), share))


def _feasible(
    population: Population, raw: _Shares, variances: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    """Shares of one sample, at least 0; factors in a group sum to at most the group's variance.

    Dependent factors would be counted twice.  The excess is subtracted in proportion to the `variances` of the shares,
    so an uncertain share does not lower a certain one.
    """
    shares = {key: float(np.clip(values[0], 0, 1)) for key, values in raw.items()}
    own = _within_groups(population, np.ones((1, len(population.y))), 1 - np.array([shares.get(_BETWEEN, 0.0)]))
    for name, whole in own.items():
        keys = [(name, factor.name) for factor in population.factors.get(name, ())]
        found = np.array([shares[key] for key in keys])
        if found.sum() > whole[0]:
            doubts = np.array([variances[key] for key in keys]) * (found > 0) + SMALL * found
            found = np.maximum(found - (found.sum() - whole[0]) * doubts / doubts.sum(), 0)
            found *= min(1.0, whole[0] / found.sum()) if found.sum() > 0 else 1.0
            shares |= dict(zip(keys, found.tolist(), strict=True))
    return shares


def _raw_shares(population: Population, weights: Float[np.ndarray, "b n"], chance: int) -> _Shares:
    """Shares in each of b samples, by the `weights` of rows; below 0 where chance would explain more."""
    y, found, left = population.y, _Shares(), np.ones(len(weights))
    if len(population.groups) > 1:
        found[_BETWEEN] = _explained(_groups(population), y, weights, chance)
        left = 1 - np.clip(found[_BETWEEN], 0, 1)
    for name, own in _within_groups(population, weights, left).items():
        group = _scatter(y, population.groups[name], weights)
        for each in population.factors.get(name, ()):
            part = _ratio(_scatter(y, each.rows, weights), group)
            found[name, each.name] = own * part * _explained(each, y, weights, chance)
    return found


def _within_groups(
    population: Population, weights: Float[np.ndarray, "b n"], left: Float[np.ndarray, " b"]
) -> dict[str, Float[np.ndarray, " b"]]:
    """Share of each group in the variance that is `left` within groups."""
    scatter = {name: _scatter(population.y, rows, weights) for name, rows in population.groups.items()}
    within = sum(scatter.values(), np.zeros(len(weights)))
    return {name: left * _ratio(own, within) for name, own in scatter.items()}


def _groups(population: Population) -> Factor:
    labels = np.empty(len(population.y), object)
    for name, rows in population.groups.items():
        labels[rows] = name
    basis = _categories(labels.tolist())
    return Factor("", np.arange(len(labels)), basis, basis.shape[1])


def _explained(
    factor: Factor, y: Float[np.ndarray, " n"], weights: Float[np.ndarray, "b n"], chance: int
) -> Float[np.ndarray, " b"]:
    """Variance explained by a factor's basis beyond chance.

    1 - (1 - R^2) (n - 1) / (n - 1 - p), with p degrees of freedom.  Coefficients count `chance` times.
    """
    y, weights = y[factor.rows], weights[:, factor.rows]
    counts = weights.sum(1)
    weights = weights / np.maximum(counts, 1)[:, None]
    y = y - y.mean()
    basis = np.concatenate([np.ones((len(y), 1)), factor.basis], 1)
    terms = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(len(y), -1)
    normal, right = (weights @ products).reshape(-1, terms, terms), weights @ (basis * y[:, None])
    fitted = np.einsum("bi,bij,bj->b", right, np.linalg.pinv(normal, hermitian=True), right)
    mean = weights @ y
    r_squared = np.clip(_ratio(fitted - mean**2, weights @ y**2 - mean**2), 0, 1)
    freedom = np.maximum(counts - 1 - factor.freedom - (chance - 1) * factor.basis.shape[1], 1)
    return np.asarray(1 - (1 - r_squared) * np.maximum(counts - 1, 1) / freedom)


def _scatter(
    y: Float[np.ndarray, " n"], rows: Int[np.ndarray, " k"], weights: Float[np.ndarray, "b n"]
) -> Float[np.ndarray, " b"]:
    """The weighted sum of squares of some rows around their weighted mean."""
    y, weights = y[rows] - y[rows].mean(), weights[:, rows]
    sums = np.maximum(weights.sum(1), 1)
    return np.asarray(np.maximum(weights @ y**2 - (weights @ y) ** 2 / sums, 0))


def _ratio(part: Float[np.ndarray, " b"], whole: Float[np.ndarray, " b"]) -> Float[np.ndarray, " b"]:
    """A quotient, 0 if the denominator is 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0))


def _ranks(values: Sequence[float]) -> Float[np.ndarray, " k"]:
    """The ranks, from -1 to 1."""
    ranks = np.array(mean_ranks([float(value) for value in values]))
    return np.asarray(2 * (ranks - 1) / max(1, len(ranks) - 1) - 1)


def _powers(ranks: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k p"]:
    """Powers of the ranks, at most one less than the number of distinct values."""
    return np.stack([ranks**power for power in range(1, MAX_POWER + 1)], 1)[:, : len(set(ranks.tolist())) - 1]


def _with_knot(parabola: Factor, ranks: Float[np.ndarray, " k"], scores: Float[np.ndarray, " n"]) -> Factor:
    """The best step or kink, if generalised cross-validation (Friedman 1991) prefers it to the parabola."""
    levels = np.unique(ranks)
    knots = (levels[1:] + levels[:-1]) / 2
    sides = (ranks[:, None] > knots).sum(0)
    knots = knots[(sides >= MIN_SIDE) & (len(ranks) - sides >= MIN_SIDE)]
    if len(levels) <= MAX_POWER + 1 or len(knots) == 0 or len(ranks) - 2 - KNOT_FREEDOM < MIN_RESIDUAL_FREEDOM:
        return parabola
    knots = knots[np.unique(np.linspace(0, len(knots) - 1, MOST_KNOTS).round().astype(int))]
    offsets = ranks[:, None] - knots
    columns = np.concatenate([offsets > 0, np.maximum(offsets, 0), np.maximum(-offsets, 0)], 1)
    y, centred = scores[parabola.rows] - scores[parabola.rows].mean(), columns - columns.mean(0)
    best = int(np.argmax((y @ centred) ** 2 / (centred**2).sum(0)))
    bent = Factor(parabola.name, parabola.rows, columns[:, [best]], 1 + KNOT_FREEDOM)
    return min(parabola, bent, key=lambda each: _cross_validated(each, y))


def _cross_validated(factor: Factor, y: Float[np.ndarray, " k"]) -> float:
    """Generalised cross-validation score of one factor, up to a constant."""
    basis = np.concatenate([np.ones((len(y), 1)), factor.basis], 1)
    residual = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    return float(residual @ residual / (len(y) - 1 - factor.freedom) ** 2)


def _categories(labels: Sequence[str]) -> Float[np.ndarray, "k p"]:
    """An indicator column for each label but the first."""
    _, codes = np.unique(labels, return_inverse=True)
    return np.asarray(np.eye(codes.max() + 1)[codes][:, 1:])


#: Importance needs at least this number of finished trials.
MIN_FINISHED = 10
#: Distances above 0, with an error in proportion to their size, so their logarithm is analysed.  Other metrics (bits
#: per dimension, kernel distances, rates) can be 0 or negative.
LOG_METRICS = ("fd", "fid")
#: Name of the sweep among a family's settings.
SWEEP = "sweep"


@dataclass(frozen=True)
class Importance:
    """Where the variance of scores comes from: families, settings within each, interactions and noise.

    It uses the scores of `finished` trials and the last scores of `stopped` trials, in their logarithm if `log`.
    """

    shares: Decomposition
    finished: int
    stopped: int
    log: bool


def importance(comparison: Comparison) -> Importance | None:
    """Analyse a comparison; None with too little data, such as fewer than MIN_FINISHED finished trials."""
    entries = [entry for entry in comparison.entries if entry.trial.status in ("finished", "pruned")]
    finished = sum(entry.trial.status == "finished" for entry in entries)
    values = [entry.score.value for entry in entries]
    log = bool(values) and entries[0].score.metric in LOG_METRICS and min(values) > 0
    scores = [math.log(value) for value in values] if log else values
    if finished < MIN_FINISHED or len(set(scores)) < 2:
        return None
    rows: dict[str, list[int]] = {}
    for row, entry in enumerate(entries):
        rows.setdefault(entry.trial.family, []).append(row)
    settings = [{**entry.trial.params, SWEEP: entry.trial.sweep} for entry in entries]
    y = np.array(scores)
    factors = {family: _factors(settings, y, listed) for family, listed in rows.items()}
    found = decomposed(Population(y, {family: np.array(listed) for family, listed in rows.items()}, factors))
    if found.between is None and not found.within:
        return None
    return Importance(found, finished, len(entries) - finished, log)


def _factors(settings: Sequence[Mapping[str, Any]], y: Float[np.ndarray, " n"], rows: Sequence[int]) -> list[Factor]:
    """Settings that vary among a family's trials; for a setting of a branch, among the branch's trials."""
    having: dict[str, list[int]] = {}
    for row in rows:
        for key in settings[row]:
            having.setdefault(key, []).append(row)
    factors = [factor_of(key, listed, [settings[row][key] for row in listed], y) for key, listed in having.items()]
    return [factor for factor in factors if factor is not None]
