"""Optuna's TPE for spaces with branches, such as a choice of networks that have settings of their own.

TPE calls the best trials good, and draws where these lie.  Where they all are of one branch, which may only be the
one that learns fastest, Optuna's draws of the others are few and know nothing.  So here each combination of branches is
drawn as often as any other, and what a branch holds is drawn by the good trials of that branch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from gensweep.config.points import every_node
from gensweep.config.ranges import Conditional, Fixed, Node


class BranchTpe(optuna.samplers.TPESampler):
    """See the module; `settings` are those of Optuna's TPESampler.

    A choice whose branches hold nothing that is searched is a setting like any other.  What is drawn together, with
    `multivariate`, is so over all branches, as Optuna does it.
    """

    def __init__(self, nodes: Sequence[Node], *, seed: int, **settings: Any) -> None:
        super().__init__(seed=seed, **settings)
        self._random = Random(seed)
        self._models = {
            node.name: [models(branch.nodes) for branch in node.branches]
            for node in every_node(nodes)
            if isinstance(node, Conditional) and _is_branching(node)
        }
        """By choice of branches, how many models are behind each."""
        self._places: dict[str, list[Mapping[str, str]]] = {}
        """Where a parameter is found: the branches that lead there, by the names of their choices."""
        for name, place in _places(nodes, {}):
            self._places.setdefault(name, []).append(place)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One parameter; those that were drawn before it say in which branch it lies."""
        if isinstance(param_distribution, CategoricalDistribution) and param_name in self._models:
            return self._random.choices(param_distribution.choices, self._models[param_name])[0]
        places = self._places.get(param_name, ())
        place = next((place for place in places if place.items() <= trial.params.items()), None)
        within: Any = _Branch(study, place) if place else study
        return super().sample_independent(within, trial, param_name, param_distribution)


class _Branch:
    """A study of which only the trials of one branch are seen; Optuna's sampler asks for them by `_get_trials`."""

    def __init__(self, study: optuna.Study, place: Mapping[str, str]) -> None:
        self._study, self._place = study, place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        found = self._study._get_trials(*args, **kwargs)
        return [trial for trial in found if self._place.items() <= trial.params.items()]


def models(nodes: Sequence[Node]) -> int:
    """How many combinations of branches a space has."""
    choices = [node for node in nodes if isinstance(node, Conditional) and _is_branching(node)]
    return math.prod(sum(models(branch.nodes) for branch in node.branches) for node in choices)


def _is_branching(node: Conditional) -> bool:
    """Whether other searched settings hang on a choice."""
    return any(not isinstance(below, Fixed) for branch in node.branches for below in every_node(branch.nodes))


def _places(nodes: Sequence[Node], place: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every searched node's name, with where it is found."""
    for node in nodes:
        if isinstance(node, Fixed):
            continue
        yield node.name, place
        if isinstance(node, Conditional):
            for branch in node.branches:
                yield from _places(branch.nodes, {**place, node.name: branch.label})
