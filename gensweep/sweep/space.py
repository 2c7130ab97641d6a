"""The search space of a sweep, ready for Optuna: define-by-run, conditional, with flat parameter names.

A parameter is named by its dotted key (`diffusion.schedule.kind`, `diffusion.schedule.beta_end`).  Where two branches
give one key different ranges, the name ends in `@branch`: a study must not see two distributions under one name.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gensweep.config import SweepConfig
from gensweep.config.ranges import Choices, Conditional, Fixed, Node, Range, corners, draw

__all__ = ["Parameter", "SearchSpace", "Trial"]


class Trial(Protocol):
    """What is used of an `optuna.Trial`."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""


@dataclass(frozen=True)
class Parameter:
    """One parameter, for people: name, what it may be, and in which branch it exists."""

    name: str
    range: str
    where: str


@dataclass(frozen=True)
class SearchSpace:
    """A space; calling it with an Optuna trial suggests every parameter that the trial meets.

    It is a plain value, so it can be pickled with a searcher.
    """

    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, sweep: SweepConfig) -> SearchSpace:
        """The space of a sweep."""
        return cls(sweep.nodes())

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Overrides of the base for one trial, by dotted key."""
        return draw(self.nodes, _Suggested(trial))

    def __call__(self, trial: Trial) -> None:
        """Suggest all parameters; Optuna keeps them (the form that Ray's OptunaSearch wants)."""
        self.suggest(trial)

    def overrides(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Overrides of the base for the parameters of a trial, as a study keeps them.

        Raises KeyError if a parameter is missing and ValueError if a choice does not exist in this space.
        """
        return draw(self.nodes, _Suggested(_Recorded(params)))

    def sample(self, seed: int) -> dict[str, Any]:
        """Overrides of a random trial: uniform, or log-uniform where the range says log."""
        return draw(self.nodes, _Random(random.Random(seed)))

    def corners(self) -> list[dict[str, Any]]:
        """Overrides of the extreme trials: each branch with all ranges at their low, and with all at their high end.

        Their number is bounded, and their order always the same.
        """
        return corners(self.nodes)

    def describe(self) -> list[Parameter]:
        """All parameters, for a table."""
        return list(_rows(self.nodes, ()))

    def names(self) -> list[str]:
        """Names of all parameters, as a study shows them."""
        return list(dict.fromkeys(row.name for row in self.describe() if not row.range.startswith("= ")))


class _Suggested:
    """Asks a trial."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def number(self, node: Range, /) -> int | float:
        if node.integer:
            step = 1 if node.step is None else int(node.step)
            return self.trial.suggest_int(node.name, int(node.low), int(node.high), step=step, log=node.log)
        return self.trial.suggest_float(node.name, node.low, node.high, step=node.step, log=node.log)

    def index(self, node: Choices | Conditional, /) -> int:
        return node.labels.index(self.trial.suggest_categorical(node.name, node.labels))


class _Recorded:
    """Repeats the answers of an earlier trial."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self.params[name])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self.params[name])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self.params[name]


class _Random:
    """Draws by itself, for looking at a space before anything runs."""

    def __init__(self, generator: random.Random) -> None:
        self.generator = generator

    def number(self, node: Range, /) -> int | float:
        if node.log:
            value = node.low * math.pow(node.high / node.low, self.generator.random())
            return min(max(round(value) if node.integer else float(value), node.low), node.high)
        if node.integer or node.step is not None:
            step = node.step or 1
            value = node.low + step * self.generator.randint(0, round((node.high - node.low) / step))
            return value if node.integer else min(value, node.high)
        return self.generator.uniform(node.low, node.high)

    def index(self, node: Choices | Conditional, /) -> int:
        return self.generator.randrange(len(node.labels))


def _rows(nodes: Sequence[Node], where: tuple[str, ...]) -> Iterator[Parameter]:
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
                yield from _rows(branch.nodes, (*where, f"{node.name.partition('@')[0]} = {branch.label}"))


def _range(node: Range | Choices | Conditional) -> str:
    if isinstance(node, Range):
        sort = "int" if node.integer else "float"
        extra = ", log" if node.log else f", step {node.step:g}" if node.step is not None else ""
        return f"{sort} {node.low:g} .. {node.high:g}{extra}"
    return "one of " + ", ".join(str(label) for label in node.labels)
