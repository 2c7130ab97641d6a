"""Replays of a search on a table of real trials: what it would have trained, spent and found, in simulated time.

A search asks for *stages*: a configuration of the table, trained until one of the points of its curve.  Several run at
once, all equally fast in FLOPs.  Everything counts as spent: training and scoring, of failed trainings until the next
point of their curve.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from table import Table, Training

from gensweep.config.points import every_node
from gensweep.config.ranges import Fixed, Node, Range

#: Shares that differ by less are one: `at` of a sweep is written with four digits.
SHARE_ROUNDING = 0.01


class Stage(NamedTuple):
    """A training of a configuration, told from others by its key, until the point of that number on its curve."""

    key: Any
    configuration: int
    point: int


class Searcher(Protocol):
    """A search that is replayed."""

    def ask(self) -> Stage | None:
        """What is to be trained next; None while it waits for what runs."""

    def tell(self, stage: Stage, score: float | None) -> None:
        """A stage has ended, with this score, or in a failure."""


class FoundScore(NamedTuple):
    """After so many FLOPs the best trial so far scores so much on fresh seeds."""

    flops: float
    fresh: float


@dataclass
class Pool:
    """The configurations of a table, of each the training that this replay meets, and which of them were taken.

    `shares` are the points of a curve that are scored.  Where a configuration was trained with several seeds, one of
    them is drawn.
    """

    table: Table
    nodes: Sequence[Node]
    shares: Sequence[float]
    seed: int

    def __post_init__(self) -> None:
        draw = random.Random(self.seed)
        self.budget = float(self.table.heading["sweep"]["budget"]["flops"])
        self._seeds = list(self.table.by_configuration.values())
        self.trainings = [draw.choice(seeds) for seeds in self._seeds]
        self._kept = [kept_points(training, self.shares, self.budget) for training in self.trainings]
        self._space = [node for node in every_node(self.nodes) if not isinstance(node, Fixed)]
        self._codes = np.array([self._code(training.parameters) for training in self.trainings])
        self._free = np.ones(len(self.trainings), dtype=bool)
        self._numeric = np.array([isinstance(node, Range) for node in self._space])

    def take(self, parameters: Mapping[str, Any]) -> int:
        """The configuration that is nearest to what a search asks for, among those that it was not given yet.

        Numbers differ by parts of their range, on its scale; choices, and what only one of the two has, by one.
        """
        wanted = np.array(self._code(parameters))
        apart = np.where(self._numeric, np.abs(self._codes - wanted), self._codes != wanted)
        both_missing = np.isnan(self._codes) & np.isnan(wanted)
        apart = np.where(both_missing, 0.0, np.where(np.isnan(apart), 1.0, apart)).sum(1)
        nearest = int(np.where(self._free, apart, np.inf).argmin())
        self._free[nearest] = False
        if not self._free.any():
            self._free[:] = True
        return nearest

    def score(self, stage: Stage) -> float | None:
        """What the table says of a stage; None: it failed."""
        kept = self._kept[stage.configuration]
        if stage.point >= len(kept):
            return None
        return float(self.trainings[stage.configuration].curve["score"][kept[stage.point]])

    def cost(self, stage: Stage) -> float:
        """FLOPs of a stage since the point before it, with its scoring."""
        before = self.shares[stage.point - 1] if stage.point else 0.0
        scoring = self.trainings[stage.configuration].curve["scoring_flops"][:1]
        return self.budget * (self.shares[stage.point] - before) + sum(scoring)

    def _code(self, parameters: Mapping[str, Any]) -> list[float]:
        return [_position(node, parameters[node.name]) if node.name in parameters else math.nan for node in self._space]


def kept_points(training: Training, shares: Sequence[float], budget: float) -> list[int]:
    """Which points of a curve come after these shares of the budget, as far as it goes."""
    flops = training.curve["flops"]
    found = [int(np.argmin([abs(each / budget - share) for each in flops])) for share in shares if flops]
    reached = [abs(flops[point] / budget - share) < SHARE_ROUNDING for point, share in zip(found, shares, strict=False)]
    return found[: reached.index(False)] if False in reached else found


def _position(node: Range | Any, value: Any) -> float:
    if not isinstance(node, Range):
        return float(node.labels.index(value))
    scale = math.log if node.log else float
    return (scale(value) - scale(node.low)) / ((scale(node.high) - scale(node.low)) or 1.0)


class FreshScores:
    """What the best checkpoint of a training until a point would score, had it another seed: a geometric mean.

    Of a configuration that was trained with several seeds, those of the others.  Else its logarithm is drawn towards
    the mean of its family at this point: y = m + (y - m) b / (b + w), with the variance w between seeds, and the
    variance b between configurations.  Source: James & Stein 1961, in the form of Efron & Morris 1975.
    """

    def __init__(self, table: Table, shares: Sequence[float]) -> None:
        budget = float(table.heading["sweep"]["budget"]["flops"])
        self._logs: dict[tuple[str, int, int], float] = {}
        self._seeds = table.by_configuration
        self._families: dict[int, dict[str, list[float]]] = {}
        for training in table.trainings:
            points = kept_points(training, shares, budget)
            logs = np.minimum.accumulate([math.log(training.curve["score"][point]) for point in points] or [0.0])
            for point in range(len(points)):
                self._logs[training.configuration, training.seed, point] = float(logs[point])
        self._within = {point: self._variance_within(point) for point in range(len(shares))}
        self._means = {
            (family, point): self._moments(family, point)
            for family in {family_of(training) for training in table.trainings}
            for point in range(len(shares))
        }

    def __call__(self, training: Training, point: int) -> float:
        """See the class."""
        others = [
            self._logs[each.configuration, each.seed, point]
            for each in self._seeds[training.configuration]
            if each.seed != training.seed and (each.configuration, each.seed, point) in self._logs
        ]
        if others:
            return math.exp(float(np.mean(others)))
        mean, total = self._means[family_of(training), point]
        between = max(total - self._within[point], 0.0)
        trust = between / total if total else 1.0
        return math.exp(mean + trust * (self._logs[training.configuration, training.seed, point] - mean))

    def seed_error(self, point: int) -> float:
        """Standard deviation between seeds of a score's logarithm."""
        return math.sqrt(self._within[point])

    def _of(self, point: int) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for (configuration, _, each), log in self._logs.items():
            if each == point:
                found.setdefault(configuration, []).append(log)
        return found

    def _variance_within(self, point: int) -> float:
        repeated = [logs for logs in self._of(point).values() if len(logs) > 1]
        freedom = sum(len(logs) - 1 for logs in repeated)
        return sum(float(np.var(logs)) * len(logs) for logs in repeated) / freedom if freedom else 0.0

    def _moments(self, family: str, point: int) -> tuple[float, float]:
        firsts = {c: s[0] for c, s in self._seeds.items() if family_of(s[0]) == family}
        logs = [logs[0] for configuration, logs in self._of(point).items() if configuration in firsts]
        return (float(np.mean(logs)), float(np.var(logs))) if logs else (0.0, 0.0)


def family_of(training: Training) -> str:
    """The kind of model that it trains."""
    return str(training.parameters.get("family.kind", ""))


def replay(searcher: Searcher, pool: Pool, fresh: FreshScores, *, flops: float, workers: int) -> list[FoundScore]:
    """Let a search spend so many FLOPs; whenever another trial becomes the best, what that is worth."""
    found, best = list[FoundScore](), dict[Any, tuple[float, int, int]]()
    running: list[tuple[float, int, float, Stage]] = []
    now, ended, stages = 0.0, 0.0, 0
    while True:
        while len(running) < workers and (stage := searcher.ask()) is not None:
            heapq.heappush(running, (now + pool.cost(stage), stages, now, stage))
            stages += 1
        if not running:
            return found
        now, _, started, stage = heapq.heappop(running)
        ended += now - started
        spent = ended + sum(now - began for _, _, began, _ in running)
        if spent > flops:
            return found
        score = pool.score(stage)
        if score is None:
            best.pop(stage.key, None)
        else:
            best[stage.key] = min(best.get(stage.key, (math.inf, 0, 0)), (score, stage.configuration, stage.point))
        if best:
            _, configuration, point = min(best.values())
            value = fresh(pool.trainings[configuration], point)
            if not found or found[-1].fresh != value:
                found.append(FoundScore(spent, value))
        searcher.tell(stage, score)
