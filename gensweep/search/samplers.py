"""Samplers: which configuration to train next.  Optuna's samplers, by their public interface."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from gensweep.config.ranges import Conditional, Fixed, Node, every_node
from gensweep.config.search_methods import GaussianProcess, GridSearch, RandomSearch, TpeByBranch
from gensweep.config.sweep_config import Search
from gensweep.search.space import Sample, directions, for_sampler, frozen_trial
from gensweep.sweep.state import SweepState

#: Most trials that a sampler uses, as sampling slows down with their number; grid needs all trials.
MOST_KNOWN = {"tpe_by_branch": 250, "gp": 125}
#: Share of the best trials among them; the others are the newest.
BEST_SHARE = 0.2


def make_sampler(search: Search, known: int, nodes: Sequence[Node] = ()) -> optuna.samplers.BaseSampler:
    """Optuna's sampler for a space of these nodes.

    The seed depends on the number of `known` trials, so a resumed session does not repeat random numbers.
    """
    seed = (search.seed * 1_000_003 + known) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case TpeByBranch():
                return BranchTpe(nodes, seed=seed, startup_trials=search.startup_trials)
            case GridSearch():
                return optuna.samplers.BruteForceSampler(seed=seed)
            case GaussianProcess(startup_trials=startup):
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
            case RandomSearch():
                return optuna.samplers.RandomSampler(seed=seed)


def known_study(sampler: optuna.samplers.BaseSampler, state: SweepState, kind: str, sample: Sample) -> optuna.Study:
    """The in-memory study for a sampler of this kind."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler, directions=directions(state))
    known, most = state.searched, MOST_KNOWN.get(kind)
    if most is not None and len(known) > most:
        best = state.ranking[: int(most * BEST_SHARE)]
        newest = known[len(known) - (most - len(best)) :]
        chosen = {trial.trial for trial in (*best, *newest, *state.training)}
        known = [trial for trial in known if trial.trial in chosen]
    study.add_trials(frozen_trial(each, number, sample, for_sampler(each)) for number, each in enumerate(known))
    return study


class BranchTpe(optuna.samplers.TPESampler):
    """Optuna's TPE in each branch, such as each network, after random `startup_trials` of the whole search.

    TPE samples near the best trials.  If they all belong to one branch, perhaps because it learns fastest, TPE rarely
    samples the others.  So all combinations of branches are sampled equally often, and settings by the good trials of
    that branch.  A choice whose branches have no searched settings is treated like any other setting.
    """

    def __init__(self, nodes: Sequence[Node], *, seed: int, startup_trials: int) -> None:
        super().__init__(seed=seed, n_startup_trials=0, multivariate=False, constant_liar=True)
        self._uniform, self._startup = Random(seed), optuna.samplers.RandomSampler(seed=seed)
        self._startup_trials = startup_trials
        self._places = list(_places(nodes, {}))

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample one parameter; earlier parameters determine its branch."""
        places = [(branches, weights) for name, branches, weights in self._places if name == param_name]
        branches, weights = next((each for each in places if each[0].items() <= trial.params.items()), ({}, []))
        if weights and isinstance(param_distribution, CategoricalDistribution):
            return self._uniform.choices(param_distribution.choices, weights)[0]
        known = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number]
        if sum(each.state in (OptunaState.COMPLETE, OptunaState.PRUNED) for each in known) < self._startup_trials:
            return self._startup.sample_independent(study, trial, param_name, param_distribution)
        if branches:
            study = optuna.create_study(directions=study.directions)
            study.add_trials([each for each in known if branches.items() <= each.params.items()])
        return super().sample_independent(study, trial, param_name, param_distribution)


def _places(nodes: Sequence[Node], branches: dict[str, str]) -> Iterator[tuple[str, dict[str, str], list[int]]]:
    """Every searched node's name, the branches that lead to it, and its `_combinations`."""
    for node in nodes:
        if isinstance(node, Fixed):
            continue
        yield node.name, branches, _combinations(node)
        for branch in node.branches if isinstance(node, Conditional) else ():
            yield from _places(branch.nodes, {**branches, node.name: branch.label})


def _combinations(node: Node) -> list[int]:
    """The combinations of branches behind each branch of a choice; empty if no searched setting depends on it."""
    branches = node.branches if isinstance(node, Conditional) else ()
    if all(isinstance(below, Fixed) for branch in branches for below in every_node(branch.nodes)):
        return []
    return [math.prod(sum(_combinations(below)) or 1 for below in branch.nodes) for branch in branches]
