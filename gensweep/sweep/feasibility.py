"""Whether a space has trials that meet the limits of a sweep, as far as their configurations tell: tried by drawing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import optuna

from gensweep.config.objectives import Constraint
from gensweep.errors import ConfigError
from gensweep.sweep.preflight import Precheck
from gensweep.sweep.space import SearchSpace
from gensweep.sweep.sweep_plan import SweepPlan

#: Random trials that are looked at.
DRAWS = 100


def check_feasible(plan: SweepPlan) -> None:
    """Raises ConfigError if neither a queued, an extreme nor a random trial of the space meets all limits."""
    if not plan.constraints:
        return
    if problem := _problem(chain(_broken(plan, SearchSpace(plan.nodes).corners()), _broken(plan, _drawn(plan)))):
        raise ConfigError(problem)


def feasibility(plan: SweepPlan) -> Iterator[Precheck]:
    """The share of random trials that meet all limits; a problem if no extreme trial does so either."""
    if not plan.constraints:
        return
    found = list(_broken(plan, _drawn(plan)))
    words = (
        f"{found.count([])} of {len(found)} random trials meet what is known beforehand of "
        f"{', '.join(map(str, plan.constraints))}"
    )
    yield Precheck("constraints", words, _problem(chain(found, _broken(plan, SearchSpace(plan.nodes).corners()))))


def _drawn(plan: SweepPlan) -> Iterator[Mapping[str, Any]]:
    """Overrides of the trials that are queued, and of random ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.search.seed))
    for settings in plan.queue:
        study.enqueue_trial(dict(settings))
    for _ in range(DRAWS):
        yield plan.sample(study.ask())


def _broken(plan: SweepPlan, trials: Iterable[Mapping[str, Any]]) -> Iterator[list[tuple[Constraint, float]]]:
    """Of each valid trial, by its overrides, the limits that it breaks for sure, with its values."""
    for overrides in trials:
        try:
            known = plan.known(plan.configure(overrides))
        except ConfigError:
            continue
        named = [(each, known[each.metric]) for each in plan.constraints if each.metric in known]
        yield [(each, value) for each, value in named if each.excess(value) > 0]


def _problem(broken: Iterable[list[tuple[Constraint, float]]]) -> str | None:
    """That no trial meets all limits, with the value that is nearest to each; by trial the limits that it breaks.

    None if there is one that does, or no trial at all.
    """
    found = list[list[tuple[Constraint, float]]]()
    for limits in broken:
        if not limits:
            return None
        found.append(limits)
    if not found:
        return None
    nearest: dict[str, tuple[Constraint, float]] = {}
    for each, value in sorted(chain.from_iterable(found), key=lambda item: item[0].excess(item[1])):
        nearest.setdefault(each.metric, (each, value))
    words = ", ".join(f"{each} (the nearest has {value:,.6g})" for each, value in nearest.values())
    return f"constraints: none of {len(found)} trials meets {words}; loosen it, or search a space with such trials"
