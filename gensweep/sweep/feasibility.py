"""Whether a space has trials that meet the limits of a sweep, as far as their configurations tell: tried by drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    broken = list[list[tuple[Constraint, float]]]()
    for overrides in [*SearchSpace(plan.nodes).corners(), *_drawn(plan)]:
        limits = _broken(plan, overrides)
        if limits == []:
            return
        broken += [] if limits is None else [limits]
    if broken:
        raise ConfigError(f"constraints: {_none_of_them(broken)}")


def feasibility(plan: SweepPlan) -> Iterator[Precheck]:
    """The share of random trials that meet all limits."""
    if not plan.constraints:
        return
    found = [limits for overrides in _drawn(plan) if (limits := _broken(plan, overrides)) is not None]
    meeting, named = found.count([]), ", ".join(map(str, plan.constraints))
    words = f"{meeting} of {len(found)} random trials meet what is known beforehand of {named}"
    problem = None if meeting or not found else f"constraints: {_none_of_them(found)}"
    yield Precheck("constraints", words, problem)


def _drawn(plan: SweepPlan) -> Iterator[Mapping[str, Any]]:
    """Overrides of the trials that are queued, and of random ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=plan.search.seed))
    for settings in plan.queue:
        study.enqueue_trial(dict(settings))
    for _ in range(DRAWS):
        yield plan.sample(study.ask())


def _broken(plan: SweepPlan, overrides: Mapping[str, Any]) -> list[tuple[Constraint, float]] | None:
    """The limits that a trial breaks for sure, with its values; None if it is no valid trial."""
    try:
        known = plan.known(plan.configure(overrides))
    except ConfigError:
        return None
    named = [(each, known[each.metric]) for each in plan.constraints if each.metric in known]
    return [(each, value) for each, value in named if each.excess(value) > 0]


def _none_of_them(broken: Sequence[Sequence[tuple[Constraint, float]]]) -> str:
    """That no trial meets all limits, with the value that is nearest to each; by trial the limits that it breaks."""
    nearest: dict[str, tuple[Constraint, float]] = {}
    for each, value in sorted(chain.from_iterable(broken), key=lambda item: item[0].excess(item[1])):
        nearest.setdefault(each.metric, (each, value))
    words = ", ".join(f"{each} (the nearest has {value:,.6g})" for each, value in nearest.values())
    return f"none of {len(broken)} trials meets {words}; loosen it, or search a space with such trials"
