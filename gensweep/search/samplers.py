"""Samplers: which configuration to train next.  Optuna's samplers, by their public interface."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from gensweep.config.ranges import Conditional, Fixed, Node, every_node
from gensweep.config.search_methods import GaussianProcess, GridSearch, Nsga2, RandomSearch, TpeByBranch
from gensweep.config.sweep_config import Search
from gensweep.search.study import Sample, directions, for_sampler, frozen_trial
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

#: Trials that a sampler knows at most, as sampling slows down with their number; grid must know all trials.
MOST_KNOWN = {"tpe_by_branch": 250, "gp": 125, "nsga2": 250}
#: This share of them are the best trials; the others are the newest.
BEST_SHARE = 0.2


class Sampler:
    """The sampler of one session.  Each sample is from a study that is built from the state.

    The seed depends on the number of known trials, so a resumed session does not repeat random numbers.
    """

    def __init__(self, search: Search, state: SweepState, sample: Sample, nodes: Sequence[Node] = ()) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.method = make_sampler(search, len(state.searched), nodes)
        self._kind, self._sample = search.sampler.kind, sample

    def study(self, state: SweepState) -> optuna.Study:
        """What the sampler knows; in memory."""
        study = optuna.create_study(sampler=self.method, directions=directions(state))
        most = MOST_KNOWN.get(self._kind)
        known = state.searched if most is None or len(state.searched) <= most else _best_and_newest(state, most)
        study.add_trials(frozen_trial(each, n, self._sample, for_sampler(each)) for n, each in enumerate(known))
        return study

    def ask(self, state: SweepState, queued: Mapping[str, Any] | None = None) -> optuna.Trial:
        """A new trial; parameters that are `queued` are fixed."""
        study = self.study(state)
        if queued is not None:
            study.enqueue_trial(dict(queued))
        return study.ask()


def sampler_state(asked: optuna.Trial) -> dict[str, int]:
    """Whole numbers that a sampler has stored with a trial, such as its generation."""
    stored = asked.study.get_trials(deepcopy=False)[asked.number].system_attrs
    return {name: value for name, value in stored.items() if isinstance(value, int)}


def make_sampler(search: Search, known: int, nodes: Sequence[Node] = ()) -> optuna.samplers.BaseSampler:
    """Optuna's sampler for a space of these nodes, of which `known` trials exist."""
    seed = (search.seed * 1_000_003 + known) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match search.sampler:
            case TpeByBranch(constant_liar=liar):
                return BranchTpe(nodes, seed=seed, startup_trials=search.startup_trials, constant_liar=liar)
            case GridSearch():
                return optuna.samplers.BruteForceSampler(seed=seed)
            case GaussianProcess(startup_trials=startup):
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
            case Nsga2(population=population):
                return optuna.samplers.NSGAIISampler(seed=seed, population_size=population)
            case RandomSearch():
                return optuna.samplers.RandomSampler(seed=seed)


def _best_and_newest(state: SweepState, most: int) -> list[TrialState]:
    """At most this many trials and all that train, in the order of their numbers."""
    best = [trial for trial in state.ranking if trial.repeat_of is None][: int(most * BEST_SHARE)]
    newest = state.searched[len(state.searched) - (most - len(best)) :]
    chosen = {trial.trial for trial in (*best, *newest, *state.training)}
    return [trial for trial in state.searched if trial.trial in chosen]


class BranchTpe(optuna.samplers.TPESampler):
    """Optuna's TPE in each branch, such as each network, after random `startup_trials` of the whole search.

    TPE samples near the best trials.  If all of them are of one branch, perhaps because it learns fastest, it rarely
    samples the others.  So all combinations of branches are sampled equally often, and the settings of a branch by the
    good trials of that branch.  A choice whose branches have no searched settings is a setting like any other.
    """

    def __init__(self, nodes: Sequence[Node], *, seed: int, startup_trials: int, constant_liar: bool = True) -> None:
        super().__init__(seed=seed, n_startup_trials=0, multivariate=False, constant_liar=constant_liar)
        self._uniform, self._startup = Random(seed), optuna.samplers.RandomSampler(seed=seed)
        self._startup_trials = startup_trials
        self._places: dict[str, list[_Place]] = {}
        for name, place in _places(nodes, {}):
            self._places.setdefault(name, []).append(place)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One parameter; the parameters that were sampled before it tell its branch."""
        places = (each for each in self._places.get(param_name, ()) if each.branches.items() <= trial.params.items())
        place = next(places, _Place({}))
        if place.models and isinstance(param_distribution, CategoricalDistribution):
            return self._uniform.choices(param_distribution.choices, place.models)[0]
        known = [each for each in study.get_trials(deepcopy=False) if each.number != trial.number]
        if sum(each.state in (OptunaState.COMPLETE, OptunaState.PRUNED) for each in known) < self._startup_trials:
            return self._startup.sample_independent(study, trial, param_name, param_distribution)
        if place.branches:
            study = optuna.create_study(directions=study.directions)
            study.add_trials([each for each in known if place.branches.items() <= each.params.items()])
        return super().sample_independent(study, trial, param_name, param_distribution)


class _Place(NamedTuple):
    """The branches that lead to a parameter; for a choice of branches, the number of combinations behind each."""

    branches: Mapping[str, str]
    models: Sequence[int] = ()


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
