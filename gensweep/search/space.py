"""The search space of a sweep, ready for Optuna: define-by-run, conditional, with flat parameter names.

A parameter is named by its dotted key (`diffusion.schedule.kind`, `diffusion.schedule.beta_end`).  Where two branches
give one key different ranges, the name ends in `@branch`: a study must not see two distributions under one name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gensweep.config.ranges import Choices, Conditional, Fixed, Node, Range, draw

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


@dataclass(frozen=True)
class Parameter:
    """One parameter, for people: name, what it may be, and in which branch it exists."""

    name: str
    range: str
    where: str


def suggest(nodes: Sequence[Node], trial: BaseTrial) -> dict[str, Any]:
    """Overrides of the base for one trial, by dotted key."""
    return draw(nodes, _Suggested(trial))


def sample(nodes: Sequence[Node], seed: int) -> dict[str, Any]:
    """Overrides of a random trial: uniform, or log-uniform where the range says log."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return suggest(nodes, optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed % 2**32)).ask())


class _Suggested:
    """A picker of what an Optuna trial suggests."""

    def __init__(self, trial: BaseTrial) -> None:
        self.trial = trial

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
            # A branch's own kind says nothing that `where` does not say.
            if not (where and where[-1].startswith(f"{node.key} = ")):
                yield Parameter(node.key, f"= {node.value}", place)
            continue
        yield Parameter(node.name, _range(node), place)
        if isinstance(node, Conditional):
            for branch in node.branches:
                yield from describe(branch.nodes, (*where, f"{node.name.partition('@')[0]} = {branch.label}"))


def _range(node: Range | Choices | Conditional) -> str:
    if isinstance(node, Range):
        sort = "int" if node.integer else "float"
        extra = ", log" if node.log else f", step {node.step:g}" if node.step is not None else ""
        return f"{sort} {node.low:g} .. {node.high:g}{extra}"
    return "one of " + ", ".join(str(label) for label in node.labels)
