"""Population based training.  Source: Jaderberg et al. 2017, "Population based training of neural networks".

All trials pause at each interval.  Once the whole population has paused, the worst trials continue from checkpoints of
the best, with their settings sampled anew or perturbed; then all trials resume.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from gensweep.config.ranges import Choices, Conditional, Node, Range, draw, grid_of
from gensweep.search.schedulers import ROUNDING, Candidates, Clone, Scheduler, Verdict, at_rung, scored
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState


@dataclass(frozen=True)
class Pbt(Scheduler):
    """A population is all trials of the search; the interval is `grace`.

    At each interval the worst `share` of the trials are replaced.  A setting is sampled anew with the probability
    `resample`, else perturbed: a number is multiplied by one of the `factors`, a choice or step moves to a neighbour.
    """

    nodes: Sequence[Node] = ()
    share: float = 0.25
    resample: float = 0.25
    factors: tuple[float, float] = (0.8, 1.2)
    seed: int = 0

    def verdict_on(self, trial: TrialState, state: SweepState) -> Verdict:
        """Pause at each interval but the last."""
        *before, last = (each.spent for each in scored(trial, state))
        is_new = self._interval(last) > self._interval(max(before, default=0.0))
        return "pause" if is_new and last < self.budget * (1 - ROUNDING) else "continue"

    def candidates(self, state: SweepState, deciding: TrialState | None = None) -> Candidates:
        """Paused trials at the interval that the whole population has reached."""
        reached = {} if deciding is not None or len(state.searched) < state.wanted else self._reached(state)
        lowest = min(reached.values(), default=0)
        return Candidates([trial for trial in state.paused if reached.get(trial.trial) == lowest], [])

    def clones(self, state: SweepState) -> dict[str, Clone]:
        """The worst trials of a population that has paused at one interval, each with one of the best."""
        reached = self._reached(state)
        population = [state.trials[name] for name in reached]
        if len(state.searched) < state.wanted or len({*reached.values()}) != 1:
            return {}
        if any(trial.status != "paused" for trial in population):
            return {}
        interval, size = next(iter(reached.values())), len(population)
        done = {trial.trial for trial in state.searched if self._cloned_at(trial, state) == interval}
        count = min(math.ceil(size * self.share), size // 2)
        ranked = sorted(
            (list(scored(trial, state))[-1].order, trial.number) for trial in population if trial.trial not in done
        )
        worst = ranked[len(ranked) - max(0, count - len(done)) :]
        by_number = {trial.number: trial for trial in population}
        best = [source for _, number in ranked[:count] if _checkpoint(source := by_number[number])]
        return {
            (name := by_number[number].trial): self._clone(best, Random(f"{self.seed} {interval} {name}"))
            for _, number in (worst if best else ())
        }

    def _interval(self, spent: float) -> int:
        return int(at_rung(spent / self.grace) * (1 + ROUNDING))

    def _reached(self, state: SweepState) -> dict[str, int]:
        """The interval that each trial of the population has reached."""
        return {
            trial.trial: max((self._interval(each.spent) for each in scored(trial, state)), default=0)
            for trial in state.searched
            if not trial.ended
        }

    def _cloned_at(self, trial: TrialState, state: SweepState) -> int | None:
        return self._interval(state.spent(trial, trial.lineage[-1].images)) if trial.lineage else None

    def _clone(self, sources: Sequence[TrialState], rng: Random) -> Clone:
        source = rng.choice(sources)
        images, uri = source.rungs[-1][0], _checkpoint(source)
        explored = draw(self.nodes, Perturbed(source.params, rng, self.resample, self.factors))
        return Clone(source, images, uri, {**source.params, **explored})


def _checkpoint(trial: TrialState) -> str:
    """The checkpoint of its newest evaluation; empty if it has none."""
    return trial.evaluations[trial.rungs[-1][0]].uri or ""


@dataclass(frozen=True)
class Perturbed:
    """A picker of values near those of another trial."""

    params: Mapping[str, Any]
    rng: Random
    resample: float
    factors: tuple[float, float]

    def number(self, node: Range, /) -> int | float:
        """A number near the other trial's, or a new one."""
        value, is_new = self.params[node.key], self.rng.random() < self.resample
        if node.step is not None:
            steps = grid_of(node)
            return steps[self._place(len(steps), steps.index(value) if value in steps else None, is_new)]
        number = self._sampled(node) if is_new else value * self.rng.choice(self.factors)
        return min(max(round(number) if node.integer else number, node.low), node.high)

    def index(self, node: Choices | Conditional, /) -> int:
        """A neighbour of the other trial's choice, or a new one."""
        if isinstance(node, Conditional):
            raise TypeError(f"{node.key}: a choice of kinds cannot be perturbed")
        is_new = self.rng.random() < self.resample
        return self._place(len(node.values), node.values.index(self.params[node.key]), is_new)

    def _place(self, count: int, now: int | None, is_new: bool) -> int:
        if is_new or now is None:
            return self.rng.randrange(count)
        return min(max(now + self.rng.choice((-1, 1)), 0), count - 1)

    def _sampled(self, node: Range) -> float:
        if node.log:
            # Whole numbers are rounded later, so the range reaches half a step further.
            beyond = 0.5 if node.integer else 0.0
            return math.exp(self.rng.uniform(math.log(node.low - beyond), math.log(node.high + beyond)))
        return (
            self.rng.randint(int(node.low), int(node.high)) if node.integer else self.rng.uniform(node.low, node.high)
        )
