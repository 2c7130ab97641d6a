"""Replays of a search on a table of real trials: what it would have trained, spent and found, in simulated time.

A search asks for *stages*: a training until one of the points of its curve.  Several run at once, all equally fast in
FLOPs.  Everything counts as spent: training and scoring, of failed trainings until the next point of their curve.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Stage(NamedTuple):
    """A trial of a search, by its key, and its training, by its number, until the point of that number on its curve."""

    key: Any
    training: int
    point: int


class Searcher(Protocol):
    """A search that is replayed."""

    def ask(self) -> Stage | None:
        """What is to be trained next; None while it waits for what runs."""

    def tell(self, stage: Stage, score: float | None) -> None:
        """A stage has ended, with this score, or in a failure."""


class FoundScore(NamedTuple):
    """After so many FLOPs the best trial so far scores so much on fresh seeds, or all trials are worth so much."""

    flops: float
    fresh: float


class Drawn(NamedTuple):
    """A training that a replay meets: its score at each point, and that of its best checkpoint so far on fresh seeds.

    Scores end where the training failed; `scoring` are the FLOPs of one scoring.
    """

    configuration: str
    parameters: Mapping[str, Any]
    scores: Sequence[float]
    fresh: Sequence[float]
    scoring: float


class Population(Protocol):
    """What stands for all configurations of a space, though a table holds only some."""

    def draw(self, parameters: Mapping[str, Any], drawn: Sequence[Drawn], random: random.Random) -> Drawn:
        """A training of these parameters, or near them, after those that this replay has drawn."""


class Pool:
    """The trainings that one replay draws; `shares` are those points of a curve that are scored."""

    def __init__(self, population: Population, budget: float, shares: Sequence[float], seed: int) -> None:
        self.population, self.budget, self.shares, self.seed = population, budget, shares, seed
        self.drawn: list[Drawn] = []
        self._random = random.Random(seed)

    def take(self, parameters: Mapping[str, Any]) -> int:
        """The number of a new training, of what a search asks for."""
        self.drawn.append(self.population.draw(parameters, self.drawn, self._random))
        return len(self.drawn) - 1

    def score(self, stage: Stage) -> float | None:
        """What comes of a stage; None: it fails."""
        scores = self.drawn[stage.training].scores
        return scores[stage.point] if stage.point < len(scores) else None

    def cost(self, stage: Stage) -> float:
        """FLOPs of a stage since the point before it, with its scoring."""
        before = self.shares[stage.point - 1] if stage.point else 0.0
        return self.budget * (self.shares[stage.point] - before) + self.drawn[stage.training].scoring


Best = Mapping[Any, tuple[float, int, int]]
"""By trial, its best score, and the training and the point that have it."""


def fresh_score(best: Best, pool: Pool) -> float:
    """The score of the best trial on fresh seeds."""
    _, training, point = min(best.values())
    return pool.drawn[training].fresh[point]


def replay(
    searcher: Searcher,
    pool: Pool,
    *,
    flops: float,
    workers: int,
    worth: Callable[[Best, Pool], float] = fresh_score,
) -> list[FoundScore]:
    """Let a search spend so many FLOPs; whenever its trials are worth another value, that value."""
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
            best[stage.key] = min(best.get(stage.key, (math.inf, 0, 0)), (score, stage.training, stage.point))
        if best and ((value := worth(best, pool)) != (found[-1].fresh if found else None)):
            found.append(FoundScore(spent, value))
        searcher.tell(stage, score)
