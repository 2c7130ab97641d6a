"""Searches of other packages in a replay, each set up as its own documentation shows it.

A configuration that is asked for again, with more compute, goes on from its checkpoint, which favours SMAC3 and DEHB:
their users must see to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import joblib
import numpy as np
import optuna
from replays.product_search import FromTable
from replays.table_replay import Pool, Stage

from gensweep.config import SweepConfig
from gensweep.config.ranges import Conditional, Fixed, Node, Range, grid_of
from gensweep.search.space import suggest

#: Of the trials at a rung 1/3 go on, as everywhere in the literature.
ETA = 3
SCORE = "score"


class OptunaStudy:
    """Optuna's default sampler, with its HyperbandPruner where trials have several scores.

    Source: Optuna's tutorial on pruning.
    """

    def __init__(self, pool: Pool, sweep: SweepConfig) -> None:
        self._pool, self._sample = pool, partial(suggest, sweep.nodes())
        self._sampler = FromTable(optuna.samplers.TPESampler(seed=pool.seed), pool, self._sample)
        pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=resources(pool)[-1], reduction_factor=ETA)
        # To which bracket a trial belongs follows from the study's name.
        self._study = optuna.create_study(study_name=f"seed {pool.seed}", sampler=self._sampler, pruner=pruner)
        self._continuing = list[Stage]()

    def ask(self) -> Stage | None:
        """The rest of a trial, or a new one."""
        if self._continuing:
            return self._continuing.pop()
        trial = self._study.ask()
        self._sample(trial)
        return Stage(trial, self._sampler.taken, 0)

    def tell(self, stage: Stage, score: float | None) -> None:
        """Report, and end the trial where it is pruned."""
        trial = stage.key
        if score is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        trial.report(score, resources(self._pool)[stage.point])
        if stage.point == len(self._pool.shares) - 1:
            self._study.tell(trial, score)
        elif trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self._continuing.append(stage._replace(point=stage.point + 1))


class RayAsha:
    """Ray Tune's ASHA with its OptunaSearch.  Source: Ray's guide to Optuna; both are driven as its controller does."""

    def __init__(self, pool: Pool, sweep: SweepConfig) -> None:
        from ray.tune.schedulers import AsyncHyperBandScheduler
        from ray.tune.search.optuna import OptunaSearch

        self._pool = pool
        sample = partial(suggest, sweep.nodes())
        self._sampler = FromTable(optuna.samplers.TPESampler(seed=pool.seed), pool, sample)

        def space(trial: Any) -> None:
            sample(trial)

        self._search = OptunaSearch(space, metric=SCORE, mode="min", sampler=self._sampler)
        rungs = {"max_t": resources(pool)[-1], "grace_period": 1, "reduction_factor": ETA}
        self._scheduler = AsyncHyperBandScheduler(time_attr="training_iteration", metric=SCORE, mode="min", **rungs)
        self._continuing = list[Stage]()
        self._trials = 0

    def ask(self) -> Stage | None:
        """The rest of a trial, or a new one."""
        if self._continuing:
            return self._continuing.pop()
        self._trials += 1
        trial = SimpleNamespace(trial_id=str(self._trials))
        self._search.suggest(trial.trial_id)
        self._scheduler.on_trial_add(None, trial)
        return Stage(trial.trial_id, self._sampler.taken, 0)

    def tell(self, stage: Stage, score: float | None) -> None:
        """Report as Tune's controller does."""
        trial = SimpleNamespace(trial_id=stage.key)
        if score is None:
            self._scheduler.on_trial_error(None, trial)
            self._search.on_trial_complete(stage.key, error=True)
            return
        result = {SCORE: score, "training_iteration": resources(self._pool)[stage.point]}
        last = stage.point == len(self._pool.shares) - 1
        if last or self._scheduler.on_trial_result(None, trial, result) == self._scheduler.STOP:
            self._scheduler.on_trial_complete(None, trial, result)
            self._search.on_trial_complete(stage.key, result)
        else:
            self._search.on_trial_result(stage.key, result)
            self._continuing.append(stage._replace(point=stage.point + 1))


class Proposal(NamedTuple):
    """A configuration, and the compute until which it is to be trained."""

    key: Any
    parameters: Mapping[str, Any]
    resource: float


class Proposer(Protocol):
    """A search that asks for configurations and compute, one after the other."""

    def propose(self) -> Proposal:
        """What is to be scored next."""

    def learn(self, score: float) -> None:
        """What came of it."""


class Promoting:
    """The search of a proposer, whose configurations go on from where they are when they are asked for again.

    A training that fails counts as `worst`.
    """

    def __init__(self, pool: Pool, proposer: Proposer, worst: float) -> None:
        self._pool, self._proposer, self._worst = pool, proposer, worst
        self._known: dict[Any, Stage] = {}
        """By key, the stage that was trained last."""
        self._asked: Proposal | None = None

    def ask(self) -> Stage | None:
        """The next point of the configuration that was asked for."""
        if self._asked is None:
            self._asked = self._proposer.propose()
        key = self._asked.key
        known = self._known.get(key) or Stage(key, self._pool.take(self._asked.parameters), -1)
        self._known[key] = known._replace(point=known.point + 1)
        return self._known[key]

    def tell(self, stage: Stage, score: float | None) -> None:
        """Tell the search once the configuration has come as far as was asked, or failed."""
        assert self._asked is not None
        if score is None or resources(self._pool)[stage.point] >= round(self._asked.resource):
            self._asked = None
            self._proposer.learn(self._worst if score is None else score)


class Smac:
    """SMAC3's multi-fidelity facade: HyperBand over a random forest.  Source: its example "Multi-Layer Perceptron"."""

    def __init__(self, pool: Pool, sweep: SweepConfig, folder: Path, trainings: int) -> None:
        from smac import MultiFidelityFacade, Scenario
        from smac.runhistory.dataclasses import TrialValue

        steps = resources(pool)
        scenario = Scenario(
            configuration_space(sweep, pool.seed),
            deterministic=True,
            n_trials=trainings * len(steps),
            min_budget=steps[0],
            max_budget=steps[-1],
            seed=pool.seed,
            output_directory=folder,
        )
        facade = partial(MultiFidelityFacade, scenario, _never, overwrite=True, logging_level=False)
        self._smac, self._value = facade(intensifier=MultiFidelityFacade.get_intensifier(scenario, eta=ETA)), TrialValue
        self._asked: Any = None

    def propose(self) -> Proposal:
        """See Proposer."""
        # The threads of its forest would wait for each other most of the time.
        with joblib.parallel_config(backend="sequential"):
            self._asked = self._smac.ask()
        return Proposal(self._asked.config, parameters_of(self._asked.config), self._asked.budget)

    def learn(self, score: float) -> None:
        """See Proposer."""
        self._smac.tell(self._asked, self._value(cost=score), save=False)


class Dehb:
    """DEHB: HyperBand whose rungs evolve.  Source: Awad et al. 2021, and the ask-and-tell example of its package."""

    def __init__(self, pool: Pool, sweep: SweepConfig, folder: Path) -> None:
        from dehb import DEHB

        steps = resources(pool)
        space = configuration_space(sweep, pool.seed)
        fidelities = {"min_fidelity": steps[0], "max_fidelity": steps[-1], "eta": ETA}
        quiet = {"output_path": folder, "save_freq": "end", "log_level": "ERROR"}
        self._dehb = DEHB(cs=space, f=None, n_workers=1, seed=pool.seed, **fidelities, **quiet)
        self._asked: Any = None

    def propose(self) -> Proposal:
        """See Proposer."""
        self._asked = self._dehb.ask()
        return Proposal(self._asked["config_id"], parameters_of(self._asked["config"]), self._asked["fidelity"])

    def learn(self, score: float) -> None:
        """See Proposer."""
        self._dehb.tell(self._asked, {"fitness": score, "cost": self._asked["fidelity"]})


def resources(pool: Pool) -> list[int]:
    """Whole numbers in proportion to the shares of a pool, the first one 1, as these packages count compute."""
    return [round(share / pool.shares[0]) for share in pool.shares]


def configuration_space(sweep: SweepConfig, seed: int) -> Any:
    """A search space as a ConfigSpace, choices by their numbers."""
    from ConfigSpace import ConfigurationSpace

    space = ConfigurationSpace(seed=seed)
    _add(space, sweep.nodes(), None)
    return space


def parameters_of(configuration: Any) -> dict[str, Any]:
    """The parameters of a configuration by their names in Optuna's study."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in configuration.items()}


def _add(space: Any, nodes: Sequence[Node], below: tuple[Any, Any] | None) -> None:
    from ConfigSpace import Categorical, EqualsCondition, Float, Integer, OrdinalHyperparameter

    for node in nodes:
        match node:
            case Fixed():
                continue
            case Range(integer=True, step=step) if step not in (None, 1):
                made = OrdinalHyperparameter(node.name, grid_of(node))
            case Range():
                made = (Integer if node.integer else Float)(node.name, (node.low, node.high), log=node.log)
            case _:
                made = Categorical(node.name, list(node.labels))
        space.add(made)
        if below is not None:
            space.add(EqualsCondition(made, *below))
        for branch in node.branches if isinstance(node, Conditional) else ():
            _add(space, branch.nodes, (made, branch.label))


def _never(config: Any, seed: int, budget: float) -> float:
    """The target function, which is not called where a search is asked and told."""
    return 0.0
