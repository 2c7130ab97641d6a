"""Population based training.  Source: Jaderberg et al. 2017, "Population based training of neural networks".

All trials pause at each interval.  Once the whole population has paused, the worst trials continue from the weights of
the best, with their settings sampled anew or perturbed; then all trials resume.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from gensweep.config.ranges import Choices, Node, Range, grid_of
from gensweep.config.search_methods import PopulationBasedTraining
from gensweep.search.schedulers import ROUNDING, Scheduler, Startable, Verdict, at_rung, scored
from gensweep.search.space import sample
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState


@dataclass(frozen=True)
class Pbt(Scheduler):
    """A population is all trials of the search; the interval is `grace`."""

    settings: PopulationBasedTraining
    nodes: Sequence[Node]
    seed: int

    def rule(self, trial: TrialState, state: SweepState) -> Verdict:
        """Pause at each interval but the last."""
        *before, last = (self._interval(trial, state, images) for images, _ in trial.rungs)
        ends = state.spent(trial, trial.rungs[-1][0]) >= self.budget * (1 - ROUNDING)
        return "pause" if last > max(before, default=0) and not ends else "continue"

    def candidates(self, state: SweepState, deciding: TrialState | None = None) -> Startable:
        """Paused trials at the interval that the whole population has reached."""
        reached = {} if deciding is not None or len(state.searched) < state.wanted else self._reached(state)
        lowest = min(reached.values(), default=0)
        return Startable([trial for trial in state.paused if reached.get(trial.trial) == lowest], [])

    def clones(self, state: SweepState) -> dict[str, tuple[TrialState, Mapping[str, Any]]]:
        """The worst trials of a population that has paused at one interval, each with one of the best."""
        reached = self._reached(state)
        population = [state.trials[name] for name in reached]
        have_paused = all(trial.status == "paused" for trial in population)
        if len(state.searched) < state.wanted or not have_paused or len({*reached.values()}) != 1:
            return {}
        interval, size = next(iter(reached.values())), len(population)
        cloned = [trial for trial in state.searched if trial.lineage]
        done = [trial for trial in cloned if self._interval(trial, state, trial.lineage[-1].images) == interval]
        ranked = [trial for trial in population if trial not in done]
        ranked.sort(key=lambda trial: (scored(trial, state)[-1][1], trial.number))
        count = min(math.ceil(size * self.settings.quantile), size // 2)
        best = [trial for trial in ranked[:count] if trial.evaluations[trial.rungs[-1][0]].checkpoint]
        worst = ranked[len(ranked) - max(0, count - len(done)) :] if best else []
        clones = dict[str, tuple[TrialState, Mapping[str, Any]]]()
        for trial in worst:
            rng = Random(f"{self.seed} {interval} {trial.trial}")
            source = rng.choice(best)
            clones[trial.trial] = source, explored(self.nodes, source.params, rng, self.settings)
        return clones

    def _interval(self, trial: TrialState, state: SweepState, images: int) -> int:
        """The interval that a trial reaches with a number of images."""
        return int(at_rung(state.spent(trial, images) / self.grace) * (1 + ROUNDING))

    def _reached(self, state: SweepState) -> dict[str, int]:
        """The interval that each trial of the population has reached."""
        population = [trial for trial in state.searched if not trial.ended]
        return {each.trial: self._interval(each, state, each.rungs[-1][0]) if each.rungs else 0 for each in population}


def explored(
    nodes: Sequence[Node], params: Mapping[str, Any], rng: Random, settings: PopulationBasedTraining
) -> dict[str, Any]:
    """Overrides of a trial with each searched setting sampled anew or perturbed; the space has no conditionals."""
    found, new = dict(params), sample(nodes, rng.getrandbits(32))
    for node in nodes:
        if isinstance(node, Range | Choices):
            is_new = rng.random() < settings.resample
            found[node.key] = new[node.key] if is_new else _perturbed(node, params[node.key], rng, settings.factors)
    return found


def _perturbed(node: Range | Choices, value: Any, rng: Random, factors: Sequence[float]) -> Any:
    """Multiply a number by one of the factors; for steps and choices choose a neighbour."""
    if isinstance(node, Range) and node.step is None:
        number = value * rng.choice(factors)
        return min(max(round(number) if node.integer else number, node.low), node.high)
    values = node.values if isinstance(node, Choices) else grid_of(node)
    place = values.index(value) if isinstance(node, Choices) else round((value - node.low) / node.step)
    return values[min(max(place + rng.choice((-1, 1)), 0), len(values) - 1)]
