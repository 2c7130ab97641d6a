"""Optuna's TPE for spaces with branches, such as a choice of networks that have settings of their own.

TPE calls the best trials good, and draws where these lie.  Where they all are of one branch, which may only be the
one that learns fastest, Optuna's draws of the others are few and know nothing.  So here each combination of branches is
drawn as often as any other, and what a branch holds is drawn by the good trials of that branch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

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
        self._places: dict[str, list[_Place]] = {}
        """By parameter, where it is found."""
        for name, place in _places(nodes, {}):
            self._places.setdefault(name, []).append(place)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One parameter; those that were drawn before it say in which branch it lies."""
        places = (each for each in self._places.get(param_name, ()) if each.branches.items() <= trial.params.items())
        place = next(places, _Place({}))
        if place.models and isinstance(param_distribution, CategoricalDistribution):
            return self._random.choices(param_distribution.choices, place.models)[0]
        within: Any = _Branch(study, place.branches) if place.branches else study
        return super().sample_independent(within, trial, param_name, param_distribution)


class _Place(NamedTuple):
    """Where a parameter is found: the branches that lead there, by the names of their choices.

    Of a choice of branches `models` has how many combinations are behind each.
    """

    branches: Mapping[str, str]
    models: Sequence[int] = ()


class _Branch:
    """A study of which only the trials of one branch are seen; Optuna's sampler asks for them by `_get_trials`."""

    def __init__(self, study: optuna.Study, branches: Mapping[str, str]) -> None:
        self._study, self._branches = study, branches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        found = self._study._get_trials(*args, **kwargs)
        return [trial for trial in found if self._branches.items() <= trial.params.items()]


def models(nodes: Sequence[Node]) -> int:
    """How many combinations of branches a space has."""
    choices = [node for node in nodes if isinstance(node, Conditional) and _is_branching(node)]
    return math.prod(sum(models(branch.nodes) for branch in node.branches) for node in choices)


def _is_branching(node: Conditional) -> bool:
    """Whether other searched settings hang on a choice."""
    return any(not isinstance(below, Fixed) for branch in node.branches for below in every_node(branch.nodes))


def _places(nodes: Sequence[Node], branches: Mapping[str, str]) -> Iterator[tuple[str, _Place]]:
    """Every searched node's name, with where it is found."""
    for node in nodes:
        if isinstance(node, Fixed):
            continue
        below = node.branches if isinstance(node, Conditional) else ()
        branching = isinstance(node, Conditional) and _is_branching(node)
        yield node.name, _Place(branches, [models(each.nodes) for each in below] if branching else ())
        for each in below:
            yield from _places(each.nodes, {**branches, node.name: each.label})
