"""gensweep's own search in a replay: its session asks, is told, stops, pauses and promotes, as in `gensweep tune`.

Only the workers are another, which the session never sees: what they report comes from a table.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial
from replays.table_replay import Drawn, Pool, Stage

from gensweep.config import SweepConfig
from gensweep.config.objectives import Objective
from gensweep.config.sweep_config import Search
from gensweep.results import Cost, Evaluation, Identity, Score
from gensweep.search.session import Session
from gensweep.search.space import suggest
from gensweep.search.sweep_plan import SweepPlan
from gensweep.sweep.events import Evaluated, Started, WarmStarted
from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState

#: Into so many images the training of a replay is divided, its 27th part, too.
LENGTH = 108_000
#: Trials of a replay at most.
MOST_TRIALS = 499


class ProductSearch:
    """A search by gensweep, as configured; its folder is a temporary one."""

    def __init__(
        self,
        pool: Pool,
        sweep: SweepConfig,
        identity: Identity,
        search: Mapping[str, Any],
        folder: SweepFolder,
        *,
        warm_starts: tuple[WarmStarted, ...] = (),
        further: tuple[Objective, ...] = (),
        costs: Callable[[Drawn], Mapping[str, Any]] = lambda drawn: {},
    ) -> None:
        self._pool, self._costs = pool, costs
        space = sweep.nodes()
        plan = SweepPlan(
            name=folder.name,
            objective=sweep.score,
            search=Search.model_validate({"trials": MOST_TRIALS, "seed": pool.seed, **search}),
            budget=pool.budget,
            job=_none,
            sample=partial(suggest, space),
            configure=_configured,
            nodes=space,
            unit="flops",
            equal=True,
            grace=pool.shares[0] * pool.budget,
            warm_starts=warm_starts,
            further=further,
        )
        self._identity = identity
        self._session = Session(plan, folder, (), concurrent=1)
        self._sampler = FromTable(self._session.sampler, pool, partial(suggest, space))
        self._session.sampler = self._sampler
        self._going_on: list[Stage] = []
        self._trainings: dict[str, int] = {}

    @property
    def state(self) -> SweepState:
        """What the session has come to."""
        return self._session.state

    def ask(self) -> Stage | None:
        """The next part of a trial that goes on, or what the session wants to run."""
        if self._going_on:
            return self._going_on.pop(0)
        trial = self._session.next_trial()
        if trial is None:
            return None
        self._session.note(Started(trial.trial))
        training = self._trainings.setdefault(trial.trial, self._sampler.taken)
        return Stage(trial.trial, training, len(trial.evaluations))

    def tell(self, stage: Stage, score: float | None) -> None:
        """Report as workers do."""
        name, pool, session = stage.key, self._pool, self._session
        if score is None:
            session.ended(name, {"failure": "as in the table"})
            return
        share = pool.shares[stage.point]
        drawn = pool.drawn[stage.training]
        spent = {"flops": share * pool.budget, "scoring_flops": (stage.point + 1) * drawn.scoring}
        cost = Cost(images=round(share * LENGTH), **spent, **self._costs(drawn))
        found = Evaluation(round(share * LENGTH), {"fd": Score(score, "min", self._identity)}, cost)
        stops = session.reported(Evaluated(name, found, None))
        if stage.point == len(pool.shares) - 1:
            session.ended(name, {"finished": True})
        elif stops:
            session.ended(name, {})
        else:
            self._going_on.append(stage._replace(point=stage.point + 1))


class FromTable(optuna.samplers.BaseSampler):
    """What another sampler asks for, as a population has it.

    The study learns of the parameters that were trained, as it does in a real search.
    """

    def __init__(
        self, inner: optuna.samplers.BaseSampler, pool: Pool, sample: Callable[[Any], Mapping[str, Any]]
    ) -> None:
        self.inner, self.pool, self.sample = inner, pool, sample
        self.taken = -1
        """The training of the newest trial."""

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Draw the training of a trial before that asks for its first parameter."""
        if trial.params:  # it is told of, not asked for
            return
        self.inner.before_trial(study, trial)
        wish = _Wish(self.inner, study, trial, trial.system_attrs.get("fixed_params", {}))
        self.sample(wish)
        self.taken = self.pool.take(wish.params)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """None: all parameters are known already."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See above."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """What the training has of it."""
        return self.pool.drawn[self.taken].parameters[param_name]

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: Any, values: Any) -> None:
        """As the other one."""
        self.inner.after_trial(study, trial, state, values)


class _Wish:
    """A trial that notes what a sampler would give it."""

    def __init__(
        self,
        sampler: optuna.samplers.BaseSampler,
        study: optuna.Study,
        trial: FrozenTrial,
        queued: Mapping[str, Any],
    ) -> None:
        self._asked = sampler, study, trial
        together = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
        self._together = {**together, **queued}
        self.params: dict[str, Any] = {}

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> Any:
        return self._given(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        return self._given(name, IntDistribution(low, high, log=log, step=step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._given(name, CategoricalDistribution(choices))

    def _given(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._together:
            sampler, study, trial = self._asked
            trial = copy.copy(trial)
            trial.params = self.params
            self._together[name] = sampler.sample_independent(study, trial, name, distribution)
        self.params[name] = self._together[name]
        return self.params[name]


def _none(*_: Any) -> None:
    """The job, which nobody runs."""


def _configured(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {"family": {"kind": overrides["family.kind"]}, "training": {"images": LENGTH}}
