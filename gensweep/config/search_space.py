"""The `space` of a sweep in YAML: ranges and choices by dotted key, nested to any depth.

    {int: [low, high], step: 1, log: false}      {float: [low, high], log: true}
    {choice: [values]}                           {choice: [{kind: a, setting: range or value, ...}, {kind: b, ...}]}

An element of a choice that is a mapping opens a sub-space.  A choice over `family` may carry sections of the family.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import Field, model_validator

from gensweep.config.models import FrozenSettings
from gensweep.config.problems import Problem, show
from gensweep.config.ranges import Branch, Choices, Conditional, Fixed, Node, Range, every_node, flat_spaces
from gensweep.config.schema import validate
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL, Row, Tree

RANGE_KINDS = ("int", "float", "choice")
#: The fields `int` and `float` shadow these names in their classes.
_Whole: TypeAlias = int
_Number: TypeAlias = float


class _WrittenRange(FrozenSettings):
    """Fields of both kinds of range."""

    title: ClassVar[str] = "a range"
    log: bool = False
    """whether values are sampled evenly on a logarithmic scale"""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        values = dict(self)
        (low, high), step = values.get("int") or values["float"], values["step"]
        if low > high:
            raise ValueError(f"low <= high must hold, but got low={show(low)}, high={show(high)}")
        if self.log and low <= 0:
            raise ValueError(f"log needs low > 0, but got low={show(low)}")
        if self.log and step is not None:
            raise ValueError("step and log exclude each other; use one of them")
        if step is not None and (left := (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))):
            reached = Decimal(str(high)) - left
            raise ValueError(f"high={high} is no whole number of steps of {step} above low={low}; write high={reached}")
        return self


class IntRange(_WrittenRange):
    """Whole numbers from low to high, both included."""

    int: tuple[_Whole, _Whole]
    """the lowest and the highest value"""
    step: Annotated[_Whole | None, Field(gt=0)] = None
    """distance between two values, from the lowest on"""


class FloatRange(_WrittenRange):
    """Numbers from low to high, both included."""

    float: tuple[_Number, _Number]
    """the lowest and the highest value"""
    step: Annotated[_Number | None, Field(gt=0)] = None
    """distance between two values, from the lowest on"""


def parse_space(tree: Tree, sections: Mapping[str, Sequence[str]]) -> tuple[tuple[Node, ...], list[Problem]]:
    """The nodes of a space and its syntax problems; `sections` has the sections of each family."""
    parser = _Parser(sections)
    nodes = parser.tree(tree, ())
    distributions = defaultdict(set)
    for node in every_node(nodes):
        if not isinstance(node, Fixed):
            distributions[node.key].add(_distribution(node))
    differing = {key for key, found in distributions.items() if len(found) > 1}
    return tuple(_renamed(node, differing, ()) for node in nodes), [*parser.problems, *_twice(nodes)]


class _Parser:
    def __init__(self, sections: Mapping[str, Sequence[str]]) -> None:
        self.sections = sections
        self.problems: list[Problem] = []

    def tree(self, tree: Tree, prefix: tuple[str, ...]) -> list[Node]:
        nodes: list[Node] = []
        for key, value in tree.items():
            path = (*prefix, *key.split("."))
            place = tree.places.get(key, "")
            if isinstance(value, Tree) and not any(name in value for name in RANGE_KINDS):
                if not value:
                    self._problem(place, path, "is empty; write a range, such as {int: [1, 8]} or {choice: [a, b]}")
                nodes += self.tree(value, path)
                continue
            with contextlib.suppress(_RefusedError):
                nodes.append(self.node(value, path, place))
        return nodes

    def node(self, value: Any, path: tuple[str, ...], place: str) -> Node:
        if not isinstance(value, Tree):
            return Fixed(".".join(path), value, place)
        sorts = [name for name in RANGE_KINDS if name in value]
        if len(sorts) > 1:
            raise self._refused(place, path, f"is {' and '.join(sorts)} at once; use one of them")
        if sorts[0] == "choice":
            for key in value.keys() - {"choice"}:
                self._problem(value.places.get(key, place), path, f"{show(key)} is not allowed with choice")
            return self._choice(value["choice"], path, place)
        return self._range(IntRange if sorts[0] == "int" else FloatRange, value, path, place)

    def _range(self, model: type[IntRange | FloatRange], tree: Tree, path: tuple[str, ...], place: str) -> Range:
        written, problems = validate(model, tree, place)
        for problem in problems:
            self._problem(problem.place, path, f"{problem.key}: {problem.message}".removeprefix(": "))
        if written is None:
            raise _RefusedError
        integer, key = isinstance(written, IntRange), ".".join(path)
        low, high = written.int if isinstance(written, IntRange) else written.float
        return Range(key, key, low, high, written.step, written.log, integer, place)

    def _choice(self, values: Any, path: tuple[str, ...], place: str) -> Choices | Conditional:
        key = ".".join(path)
        if not isinstance(values, Row) or not values:
            raise self._refused(place, path, f"choice needs a list of at least one value, but got {show(values)}")
        for position, value in enumerate(values):
            if value in values[:position]:  # 1, 1.0 and true are equal in Python and Optuna
                self._problem(values.places[position], path, f"{show(value)} is in the choice twice")
        mappings = [isinstance(value, Tree) for value in values]
        if not any(mappings):
            return Choices(key, key, tuple(values), place)
        if not all(mappings):
            odd = values[mappings.index(False)]
            hint = f"; write {{kind: {odd}}}" if isinstance(odd, str) else ""
            raise self._refused(
                values.places[mappings.index(False)], path, f"{show(odd)} and mappings are in one choice{hint}"
            )
        return self._conditional(values, path, place)

    def _conditional(self, values: Row, path: tuple[str, ...], place: str) -> Conditional:
        key = ".".join(path)
        kinds = [value.get("kind") for value in values]
        for position, kind in enumerate(kinds):
            if kind is not None and not isinstance(kind, str):
                raise self._refused(values.places[position], path, f"kind: {show(kind)} is not a name")
        if len({kind is None for kind in kinds}) > 1:
            position = kinds.index(None)
            raise self._refused(values.places[position], path, "kind is missing in one mapping of the choice")
        branches = []
        for position, (value, kind) in enumerate(zip(values, kinds, strict=True)):
            label = kind if kind is not None and kinds.count(kind) == 1 else f"{kind or ''}#{position + 1}"
            branches.append(Branch(label, tuple(self._branch(value, path, kind))))
        name = f"{key}.kind" if kinds[0] is not None else key
        return Conditional(key, name, tuple(branches), place)

    def _branch(self, value: Tree, path: tuple[str, ...], kind: str | None) -> list[Node]:
        if path != ("family",) or kind is None:
            return self.tree(value, path)
        # Sections of the family, and common ones, have their own names and are not in `family`.
        names = (*self.sections.get(kind, ()), *(name for name in SECTIONS_OF_EVERY_TRIAL if name != "family"))
        section = {key: key.split(".")[0] in names for key in value}
        inside = Tree({key: item for key, item in value.items() if not section[key]}, value.places)
        sections = Tree({key: item for key, item in value.items() if section[key]}, value.places)
        return self.tree(inside, path) + self.tree(sections, ())

    def _problem(self, place: str, path: tuple[str, ...], message: str) -> None:
        self.problems.append(Problem(place, "space: " + ".".join(path), message))

    def _refused(self, place: str, path: tuple[str, ...], message: str) -> _RefusedError:
        self._problem(place, path, message)
        return _RefusedError()


class _RefusedError(Exception):
    """A node is invalid; the problem has been recorded."""


def _twice(nodes: Sequence[Node]) -> list[Problem]:
    """Keys that a trial would get twice."""
    found = dict[str, Problem]()
    for space in flat_spaces(nodes):
        first = dict[str, Node]()
        for leaf in space.leaves:
            if (other := first.setdefault(leaf.key, leaf)) is not leaf:
                message = f"is set twice; first at {other.place}"
                found.setdefault(leaf.key, Problem(leaf.place, f"space: {leaf.key}", message))
    return list(found.values())


def _renamed(node: Node, differing: Set[str], labels: tuple[str, ...]) -> Node:
    """The node under its name in the study: `key@branch` if branches give one key different ranges."""
    if isinstance(node, Fixed):
        return node
    name = f"{node.name}@{'.'.join(labels)}" if node.key in differing else node.name
    if not isinstance(node, Conditional):
        return replace(node, name=name)
    branches = [
        Branch(branch.label, tuple(_renamed(each, differing, (*labels, branch.label)) for each in branch.nodes))
        for branch in node.branches
    ]
    return replace(node, name=name, branches=tuple(branches))


def _distribution(node: Node) -> Any:
    """The distribution, which must not change under one name in Optuna."""
    if isinstance(node, Range):
        return (node.integer, node.low, node.high, node.step, node.log)
    return json.dumps(node.labels) if isinstance(node, Choices | Conditional) else None
