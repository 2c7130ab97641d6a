"""A search space as values: ranges, choices, conditionals with a sub-space in each branch; its corners."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

#: Combinations of branches whose corners are all checked; of more, some that meet every branch.
MAX_COMBINATIONS = 32


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched."""

    key: str
    value: Any
    place: str = field(compare=False, default="")


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; `name` is the parameter's name in the study."""

    key: str
    name: str
    low: int | float
    high: int | float
    step: int | float | None
    log: bool
    integer: bool
    place: str = field(compare=False, default="")


@dataclass(frozen=True)
class Choices:
    """One of several values; a list among them stands under its JSON text in the study."""

    key: str
    name: str
    values: tuple[Any, ...]
    place: str = field(compare=False, default="")

    @property
    def labels(self) -> tuple[Any, ...]:
        """What the study sees."""
        return tuple(json.dumps(value) if isinstance(value, list | tuple) else value for value in self.values)


@dataclass(frozen=True)
class Branch:
    """One sub-space of a conditional."""

    label: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Conditional:
    """One of several sub-spaces; the study sees their labels."""

    key: str
    name: str
    branches: tuple[Branch, ...]
    place: str = field(compare=False, default="")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the study sees."""
        return tuple(branch.label for branch in self.branches)


Leaf: TypeAlias = Fixed | Range | Choices
Node: TypeAlias = Leaf | Conditional


class Picker(Protocol):
    """Decides, for a walk through the space."""

    def number(self, node: Range, /) -> int | float:
        """A number of the range."""

    def index(self, node: Choices | Conditional, /) -> int:
        """Which of the choices or branches."""


def draw(nodes: Sequence[Node], picker: Picker) -> dict[str, Any]:
    """Overrides for one trial, by dotted key."""
    settings: dict[str, Any] = {}
    for node in nodes:
        if isinstance(node, Fixed):
            settings[node.key] = node.value
        elif isinstance(node, Range):
            settings[node.key] = picker.number(node)
        elif isinstance(node, Choices):
            settings[node.key] = node.values[picker.index(node)]
        else:
            settings |= draw(node.branches[picker.index(node)].nodes, picker)
    return settings


def every_node(nodes: Sequence[Node]) -> Iterator[Node]:
    """All nodes of a space and of its branches."""
    for node in nodes:
        yield node
        for branch in node.branches if isinstance(node, Conditional) else ():
            yield from every_node(branch.nodes)


def grid_of(node: Range) -> list[int | float]:
    """The numbers of a range with steps, in order."""
    return [on_steps(node, position) for position in range(_steps(node))]


def _steps(node: Range) -> int:
    return math.floor((node.high - node.low) / (node.step or 1) + 1e-9) + 1


def on_steps(node: Range, position: int) -> int | float:
    """The number that many steps above the lowest one, rounded as people write it: 0.3, and not 0.1 + 2 * 0.1."""
    number = node.low + position * (node.step or 1)
    return number if isinstance(number, int) else float(f"{number:.12g}")


def combinations(nodes: Sequence[Node]) -> int | None:
    """The number of different trials in a space, or None if some range has no steps."""
    count = 1
    for node in nodes:
        if isinstance(node, Choices):
            count *= len(node.values)
        elif isinstance(node, Range):
            if not (node.step or node.integer):
                return None
            count *= _steps(node)
        elif isinstance(node, Conditional):
            each = [combinations(branch.nodes) for branch in node.branches]
            if None in each:
                return None
            count *= sum(filter(None, each))
    return count


class FlatSpace(NamedTuple):
    """A space with one branch taken of each conditional; `branches` are like "network.kind = unet"."""

    leaves: tuple[Leaf, ...]
    branches: frozenset[str]

    def corner(self, *, high: bool) -> dict[str, Any]:
        """All ranges at their high or low ends, by dotted key."""
        return {leaf.key: _ends(leaf)[high] for leaf in self.leaves}


def _ends(leaf: Leaf) -> tuple[Any, Any]:
    match leaf:
        case Range():
            return leaf.low, leaf.high
        case Choices():
            return leaf.values[0], leaf.values[-1]
    return leaf.value, leaf.value


def flat_spaces(nodes: Sequence[Node], limit: int = MAX_COMBINATIONS) -> list[FlatSpace]:
    """One for each combination of branches; if these are more than `limit`, fewer, in which each branch is met."""
    ways = [_ways(node, limit) for node in nodes]
    chosen = itertools.product(*ways) if math.prod(map(len, ways)) <= limit else _in_turn(nodes)
    return [
        FlatSpace(
            tuple(leaf for space in spaces for leaf in space.leaves),
            frozenset[str]().union(*(space.branches for space in spaces)),
        )
        for spaces in chosen
    ]


def _in_turn(nodes: Sequence[Node]) -> Iterator[tuple[FlatSpace, ...]]:
    ways = [_ways(node, 1) for node in nodes]
    for turn in range(max(map(len, ways))):
        yield tuple(way[turn % len(way)] for way in ways)


def _ways(node: Node, limit: int) -> list[FlatSpace]:
    if not isinstance(node, Conditional):
        return [FlatSpace((node,), frozenset())]
    return [
        FlatSpace(space.leaves, space.branches | {f"{node.name.partition('@')[0]} = {branch.label}"})
        for branch in node.branches
        for space in flat_spaces(branch.nodes, limit)
    ]


def corners(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """The extreme trials of a space: each branch with all ranges at their low, and with all at their high end."""
    every = [space.corner(high=high) for space in flat_spaces(nodes) for high in (False, True)]
    return list({json.dumps(corner, sort_keys=True): corner for corner in every}.values())
