"""The search space and trials of a sweep in Optuna's terms: define-by-run, conditional, with flat names.

A parameter is named by its dotted key (`diffusion.schedule.kind`, `diffusion.schedule.beta_end`).  Where two branches
give one key different ranges, the name ends in `@branch`: a study must not see two distributions under one name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import optuna
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial
from optuna.trial import TrialState as OptunaState

from gensweep.config.ranges import Choices, Conditional, Fixed, Node, Range, draw
from gensweep.errors import GensweepError
from gensweep.sweep.state import SweepState
from gensweep.sweep.trial_state import TrialState

Sample: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""Samples the parameters of the space from an Optuna trial."""

Outcome: TypeAlias = tuple[OptunaState, list[float] | None]
"""The state and the values of a trial in Optuna's terms."""


class Parameter(NamedTuple):
    """A parameter in a table: name, range, and the branch that has it."""

    name: str
    range: str
    where: str


def suggest(nodes: Sequence[Node], trial: BaseTrial) -> dict[str, Any]:
    """Overrides of the base for one trial, by dotted key."""
    return draw(nodes, _Suggested(trial))


def sample(nodes: Sequence[Node], seed: int) -> dict[str, Any]:
    """Overrides of a random trial: uniform, or log-uniform where the range says log."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return suggest(nodes, optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed % 2**32)).ask())


@dataclass(frozen=True)
class _Suggested:
    """Picks the values that an Optuna trial suggests."""

    trial: BaseTrial

    def number(self, node: Range, /) -> int | float:
        if node.integer:
            step = 1 if node.step is None else int(node.step)
            return self.trial.suggest_int(node.name, int(node.low), int(node.high), step=step, log=node.log)
        return self.trial.suggest_float(node.name, node.low, node.high, step=node.step, log=node.log)

    def index(self, node: Choices | Conditional, /) -> int:
        return node.labels.index(self.trial.suggest_categorical(node.name, node.labels))


def describe(nodes: Sequence[Node], where: tuple[str, ...] = ()) -> Iterator[Parameter]:
    """All parameters, for a table."""
    for node in nodes:
        place = ", ".join(where)
        if isinstance(node, Fixed):
            # Omit a branch's own kind if `where` already names it.
            if not (where and where[-1].startswith(f"{node.key} = ")):
                yield Parameter(node.key, f"= {node.value}", place)
            continue
        yield Parameter(node.name, _range(node), place)
        for branch in node.branches if isinstance(node, Conditional) else ():
            yield from describe(branch.nodes, (*where, f"{node.name.partition('@')[0]} = {branch.label}"))


def _range(node: Range | Choices | Conditional) -> str:
    if isinstance(node, Range):
        sort = "int" if node.integer else "float"
        extra = ", log" if node.log else f", step {node.step:g}" if node.step is not None else ""
        return f"{sort} {node.low:g} .. {node.high:g}{extra}"
    return "one of " + ", ".join(str(label) for label in node.labels)


def directions(state: SweepState) -> list[Literal["minimize", "maximize"]]:
    """Optuna's direction of each objective."""
    return ["minimize" if each.mode == "min" else "maximize" for each in state.objectives]


def outcome(trial: TrialState) -> Outcome:
    """The state and the values of a trial."""
    values = _values(trial)
    match trial.status:
        case "finished" if values:
            return OptunaState.COMPLETE, values
        case "pruned" if values:
            return OptunaState.PRUNED, values
        case "infeasible":  # some samplers learn from limits
            return OptunaState.PRUNED, None
        case "finished" | "pruned" | "failed":
            return OptunaState.FAIL, None
    return OptunaState.RUNNING, None


def for_sampler(trial: TrialState) -> Outcome:
    """As `outcome`, for samplers: a stopped or paused trial counts as complete, with its best score.

    Otherwise TPE ranks every stopped trial behind every finished one, and other samplers ignore them.
    """
    state, values = outcome(trial)
    if state == OptunaState.RUNNING and trial.has_waited:
        values = _values(trial)
    return (OptunaState.COMPLETE, values) if values else (state, None)


def _values(trial: TrialState) -> list[float] | None:
    """The objectives of its best checkpoint, if all are known."""
    values = [value for value in trial.values.values() if value is not None]
    return values if trial.best is not None and len(values) == len(trial.objectives) else None


def frozen_trial(trial: TrialState, number: int, sample: Sample, ended: Outcome) -> FrozenTrial:
    """A trial as Optuna's FrozenTrial."""
    replayed = FixedTrial(dict(trial.suggested), number)
    with contextlib.suppress(GensweepError, ValueError):  # an invalid trial stopped half-way, too
        sample(replayed)
    return optuna.trial.create_trial(
        params=replayed.params,
        distributions=replayed.distributions,
        # Optuna accepts one score per step.
        intermediate_values=trial.curve if len(trial.objectives) == 1 else {},
        state=ended[0],
        values=ended[1],
        constraints={} if ended[0] == OptunaState.RUNNING else trial.excesses,
    )
