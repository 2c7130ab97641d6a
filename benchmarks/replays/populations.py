"""Two ways from the configurations of a table to all those of its space, for replays.

`NearestConfigurations` gives what the table holds.  It is exact and has no model, but in a space of ten settings the
nearest configuration is far: what a search wants of one setting is lost among the others, and searches with a model
gain little.  `SmoothedTable` predicts curves by a Gaussian process and adds what it missed at a training of which it
expected as much, as good trainings differ less than bad ones.  Every search then gets just what it asks for, but may
find better scores than any training of the table has.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from replays.table_replay import Drawn
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from tables.load import Table, Training

from gensweep.config.ranges import Fixed, Node, Range, every_node

#: Shares that differ by less are one: `at` of a sweep is written with four digits.
SHARE_ROUNDING = 0.001
#: As far as the logarithm of what a training has spent may be behind a share that it has come to, by its last batch.
SPENT_ROUNDING = 0.1
#: Trainings of which as much was expected, one of whose residuals a new one gets.
NEIGHBOURS = 10


class Distances:
    """How far parameters are from each configuration of a table.

    Numbers differ by parts of their range, on its scale; choices, and what only one of the two has, by one.
    """

    def __init__(self, nodes: Sequence[Node], parameters: Sequence[Mapping[str, Any]]) -> None:
        self._space = [node for node in every_node(nodes) if not isinstance(node, Fixed)]
        self._numeric = np.array([isinstance(node, Range) for node in self._space])
        self._codes = np.array([self._code(each) for each in parameters])

    def __call__(self, parameters: Mapping[str, Any]) -> np.ndarray:
        """See the class."""
        code = np.array(self._code(parameters))
        apart = np.where(self._numeric, np.abs(self._codes - code), self._codes != code)
        missing = np.isnan(self._codes) & np.isnan(code)
        return np.where(missing, 0.0, np.where(np.isnan(apart), 1.0, apart)).sum(1)

    def features(self, parameters: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Parameters as a model takes them: positions in ranges, 1/2 where there is none; a 1 for what is chosen."""
        codes = np.array([self._code(each) for each in parameters])
        columns = []
        for column, node in zip(codes.T, self._space, strict=True):
            if isinstance(node, Range):
                columns.append(np.where(np.isnan(column), 0.5, column))
            else:
                columns += [(column == label).astype(float) for label in range(len(node.labels))]
        return np.stack(columns, axis=1)

    def _code(self, parameters: Mapping[str, Any]) -> list[float]:
        return [_position(node, parameters[node.name]) if node.name in parameters else math.nan for node in self._space]


class NearestConfigurations:
    """The configuration that is nearest to what a search asks for, among those that it has not had; see the module.

    A search learns of the configuration that it got.  Where that was trained with several seeds, one of them is drawn,
    and the mean of the others is the score on fresh seeds; else what was found is trusted as far as `trust` says.
    """

    def __init__(self, table: Table, nodes: Sequence[Node], shares: Sequence[float]) -> None:
        self._curves = {training: log_scores(table, training, shares) for training in table.trainings}
        self._seeds = list(table.by_configuration.values())
        self._apart = Distances(nodes, [seeds[0].parameters for seeds in self._seeds])
        whole = _whole(self._curves, len(shares))
        self._means = {family: np.mean(curves, axis=0) for family, (_, curves) in whole.items()}
        apart = {family: curves - self._means[family] for family, (_, curves) in whole.items()}
        self._trust = {family: trust(table, self._curves, residuals) for family, residuals in apart.items()}

    def draw(self, parameters: Mapping[str, Any], drawn: Sequence[Drawn], random: random.Random) -> Drawn:
        """See the class."""
        had = {each.configuration for each in drawn}
        order = [self._seeds[number] for number in np.argsort(self._apart(parameters), kind="stable")]
        seeds = next((each for each in order if each[0].configuration not in had), order[0])
        training = random.choice(seeds)
        curve = self._curves[training]
        fresh = curve
        if (family := family_of(training.parameters)) in self._means:
            mean = self._means[family][: len(curve)]
            fresh = mean + self._trust[family][: len(curve)] * (curve - mean)
        fresh = np.minimum.accumulate(fresh)
        others = [np.minimum.accumulate(self._curves[each]) for each in seeds if each.seed != training.seed]
        if others and all(len(other) >= len(curve) for other in others):
            fresh = np.mean([other[: len(curve)] for other in others], axis=0)
        scoring = training.curve["scoring_flops"][0] if len(curve) else 0.0
        return Drawn(training.configuration, training.parameters, np.exp(curve), np.exp(fresh), scoring)


class SmoothedTable:
    """A Gaussian process for each family, and the residual of another training; see the module.

    The logarithms of a curve are modelled by their principal components, each with a Matern kernel and a length for
    each setting.  A residual is what the process misses at a configuration when that is left out; it is shared out
    between configuration and seed as `trust` says.  A training fails where the nearest configuration does.

    Source of surrogates of tables: Eggensperger et al. 2015; of the residuals: Sundararajan & Keerthi 2001, eq. 10.
    """

    def __init__(self, table: Table, nodes: Sequence[Node], shares: Sequence[float]) -> None:
        curves = {training: log_scores(table, training, shares) for training in table.trainings}
        self._firsts = [seeds[0] for seeds in table.by_configuration.values()]
        self._curves = curves
        self._apart = Distances(nodes, [each.parameters for each in self._firsts])
        self._models, self._residuals, self._trust = {}, {}, {}
        for family, (trainings, found) in _whole({each: curves[each] for each in self._firsts}, len(shares)).items():
            model = CurveModel(self._apart.features([each.parameters for each in trainings]), found)
            self._models[family], self._trust[family] = model, trust(table, curves, model.residuals)
            self._residuals |= dict(zip(trainings, model.residuals, strict=True))

    def draw(self, parameters: Mapping[str, Any], drawn: Sequence[Drawn], random: random.Random) -> Drawn:
        """See the class."""
        family = family_of(parameters)
        order = [self._firsts[number] for number in np.argsort(self._apart(parameters), kind="stable")]
        expected = self._models[family](self._apart.features([parameters]))
        whole = [each for each in order if each in self._residuals and family_of(each.parameters) == family]
        alike = sorted(whole, key=lambda each: abs(self._curves[each][-1] - self._residuals[each][-1] - expected[-1]))
        residual = self._residuals[random.choice(alike[:NEIGHBOURS])]
        reached = len(self._curves[order[0]])
        fresh = np.minimum.accumulate(expected + self._trust[family] * residual)
        scores = np.exp(expected + residual)
        scoring = whole[0].curve["scoring_flops"][0]
        return Drawn(f"new-{len(drawn)}", parameters, scores[:reached], np.exp(fresh)[:reached], scoring)


class CurveModel:
    """Curves over features: their mean, and a Gaussian process for each principal component of what is left."""

    def __init__(self, features: np.ndarray, curves: np.ndarray) -> None:
        self._mean = curves.mean(axis=0)
        values, scales, self._components = np.linalg.svd(curves - self._mean, full_matrices=False)
        self.processes, residuals = [], []
        for values_of, scale in zip(values.T, scales, strict=True):
            size = scale / math.sqrt(len(curves))
            kernel = ConstantKernel(1.0) * Matern(np.ones(features.shape[1]), (0.1, 100.0), nu=2.5) + WhiteKernel(0.3)
            process = GaussianProcessRegressor(kernel, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # of settings that do not matter
                process.fit(features, values_of * math.sqrt(len(curves)))
            self.processes.append((process, size))
            inverse = np.linalg.inv(process.kernel_(features))
            residuals.append(size * (inverse @ values_of * math.sqrt(len(curves))) / np.diag(inverse))
        self.residuals = np.stack(residuals, axis=1) @ self._components
        """By curve, what is missed of it when it is left out."""

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The curve that is expected at one point."""
        parts = np.array([size * float(process.predict(features)[0]) for process, size in self.processes])
        return self._mean + parts @ self._components


def family_of(parameters: Mapping[str, Any]) -> str:
    """The kind of model that is trained."""
    return str(parameters.get("family.kind", ""))


def log_scores(table: Table, training: Training, shares: Sequence[float]) -> np.ndarray:
    """Logarithms of a training's scores at these shares of the budget, as far as it goes.

    Scores come after whole batches, so of a few large ones two shares may have the same.  Raises ValueError if the
    table's trainings were not scored there.
    """
    points = np.array([*table.heading["sweep"]["base"]["evaluation"]["at"], 1.0])
    if any(abs(points - share).min() > SHARE_ROUNDING for share in shares):
        raise ValueError(f"the table has scores at the shares {points.tolist()} of a training, not at {list(shares)}")
    scores, failed = training.curve["score"], training.status == "failed"
    spent = np.log(training.curve["flops"]) - math.log(table.heading["sweep"]["budget"]["flops"])
    numbers = [int(abs(spent - math.log(share)).argmin()) for share in shares if len(spent)]
    reached = [
        number
        for number, share in zip(numbers, shares, strict=False)
        if not failed or math.log(share) <= spent[-1] + SPENT_ROUNDING
    ]
    return np.log([scores[number] for number in reached])


def seed_variance(table: Table, curves: Mapping[Training, np.ndarray], points: int) -> np.ndarray:
    """By point, the variance between seeds of a score's logarithm, over all configurations with several; else 0."""
    several = [[curves[each] for each in seeds] for seeds in table.by_configuration.values()]
    found = [each for each in several if len(each) > 1 and all(len(curve) == points for curve in each)]
    squares = sum((np.var(each, axis=0) * len(each) for each in found), np.zeros(points))
    return squares / max(1, sum(len(each) - 1 for each in found))


def trust(table: Table, curves: Mapping[Training, np.ndarray], residuals: np.ndarray) -> np.ndarray:
    """By point, which share of a residual another seed would show again: 1 - w / v.

    v is the variance of residuals, w that between seeds.  Source: James & Stein 1961, as in Efron & Morris 1975.
    """
    between_seeds = seed_variance(table, curves, residuals.shape[1])
    return np.clip(1 - between_seeds / np.maximum(np.mean(residuals**2, axis=0), 1e-12), 0.0, 1.0)


def _whole(curves: Mapping[Training, np.ndarray], points: int) -> dict[str, tuple[list[Training], np.ndarray]]:
    """By family, the trainings that came to their end, with their curves."""
    found: dict[str, list[Training]] = {}
    for training, curve in curves.items():
        if len(curve) == points:
            found.setdefault(family_of(training.parameters), []).append(training)
    return {family: (each, np.array([curves[training] for training in each])) for family, each in found.items()}


def _position(node: Range | Any, value: Any) -> float:
    if not isinstance(node, Range):
        return float(node.labels.index(value))
    scale = math.log if node.log else float
    return (scale(value) - scale(node.low)) / ((scale(node.high) - scale(node.low)) or 1.0)
