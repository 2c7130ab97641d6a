"""A search space as values: ranges, choices, conditionals with a sub-space in each branch; its corners and points."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from gensweep.config.problems import listed, show
from gensweep.config.tree import flatten

#: Most combinations of branches whose corners are all checked; above it, each branch is checked at least once.
MAX_COMBINATIONS = 32
#: Tolerance, as a share of a step, for numbers of a range with steps.
STEP_ROUNDING = 1e-6


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
    """One of several values; the study has the JSON text of a list."""

    key: str
    name: str
    values: tuple[Any, ...]
    place: str = field(compare=False, default="")

    @property
    def labels(self) -> tuple[Any, ...]:
        """The values in the study."""
        return tuple(json.dumps(value) if isinstance(value, list | tuple) else value for value in self.values)


@dataclass(frozen=True)
class Branch:
    """One sub-space of a conditional."""

    label: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Conditional:
    """One of several sub-spaces; the study has their labels."""

    key: str
    name: str
    branches: tuple[Branch, ...]
    place: str = field(compare=False, default="")

    @property
    def labels(self) -> tuple[str, ...]:
        """The values in the study."""
        return tuple(branch.label for branch in self.branches)


Leaf: TypeAlias = Fixed | Range | Choices
Node: TypeAlias = Leaf | Conditional


class Picker(Protocol):
    """Chooses values in a walk through the space."""

    def number(self, node: Range, /) -> int | float:
        """A number of the range."""

    def index(self, node: Choices | Conditional, /) -> int:
        """Index of the chosen value or branch."""


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
    """A number of steps above the lowest value, rounded as users write it: 0.3, not 0.1 + 2 * 0.1."""
    number = node.low + position * (node.step or 1)
    return number if isinstance(number, int) else float(f"{number:.12g}")


def combinations(nodes: Sequence[Node]) -> int | None:
    """The number of different trials in a space, or None if a range has no steps."""
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
    """A space with one branch of each conditional; `branches` are like "network.kind = unet"."""

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
    """One for each combination of branches; if there are more than `limit`, enough to cover each branch."""
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
    """The extreme trials of a space: for each branch, all ranges at their low ends, and all at their high ends."""
    every = [space.corner(high=high) for space in flat_spaces(nodes) for high in (False, True)]
    return list({json.dumps(corner, sort_keys=True): corner for corner in every}.values())


@dataclass
class Point:
    """Parameters by their names in the study, and the keys that the point determines, lacks, or has outside the space.

    `conflicting` are keys that a branch fixes at another value, with that value.
    """

    params: dict[str, Any] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    conflicting: dict[str, Any] = field(default_factory=dict)


def point_of(nodes: Sequence[Node], settings: Mapping[str, Any]) -> Point:
    """The point of settings, nested or by dotted key.  Settings that are not searched are ignored."""
    point, settings = Point(), dict(flatten(settings))
    for node in nodes:
        if isinstance(node, Conditional):
            _add_branch(point, node, settings)
        elif isinstance(node, Fixed):
            point.given.add(node.key)
            if settings.get(node.key, node.value) != node.value:
                point.conflicting[node.key] = node.value
        elif node.key not in settings:
            point.missing.append(node.key)
        else:
            point.given.add(node.key)
            if (outside := _outside(node, settings[node.key])) is not None:
                point.problems.append((node.key, outside))
            else:
                point.params[node.name] = _parameter(node, settings[node.key])
    return point


def _parameter(node: Range | Choices, value: Any) -> Any:
    if isinstance(node, Choices):
        return node.labels[node.values.index(value)]
    return int(value) if node.integer else float(value)


def _add_branch(point: Point, node: Conditional, settings: Mapping[str, Any]) -> None:
    """The branch of the given kind; if that is ambiguous, the branch that fits the settings best."""
    kind = settings.get(f"{node.key}.kind", settings.get(node.key))
    named = [branch for branch in node.branches if branch.label.partition("#")[0] in ("", kind)]
    if kind is not None and not named:
        kinds = listed(dict.fromkeys(label.partition("#")[0] for label in node.labels))
        point.problems.append((f"{node.key}.kind", f"{show(kind)} is not in the space (known: {kinds})"))
        return
    below = [each for branch in named for each in every_node(branch.nodes)]
    if kind is None and (not named or (len(named) > 1 and not {each.key for each in below} & settings.keys())):
        point.missing.append(node.name.partition("@")[0])
        return

    def misfit(fitted: tuple[str, Point]) -> tuple[int, int, int]:
        return len(fitted[1].conflicting), len(fitted[1].problems), -len(fitted[1].given & settings.keys())

    fitted = [(branch.label, point_of(branch.nodes, settings)) for branch in named]
    label, chosen = min(fitted, key=misfit)
    for key, fixed in chosen.conflicting.items():
        # A value that all branches fix alike stays, whatever the settings.
        if any(other.conflicting.get(key) != fixed for _, other in fitted):
            point.problems.append((key, f"{show(settings[key])} conflicts with the other settings of this trial"))
    point.conflicting |= chosen.conflicting
    point.params |= {node.name: label, **chosen.params}
    point.given |= {f"{node.key}.kind", node.key} | chosen.given
    point.missing += chosen.missing
    point.problems += chosen.problems


def _outside(node: Range | Choices, value: Any) -> str | None:
    """Why a value is not valid for a node, or None."""
    if isinstance(node, Choices):
        known = any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in node.values)
        return None if known else f"{show(value)} is not one of {', '.join(map(show, node.values))}"
    if isinstance(value, bool) or not isinstance(value, int | float) or (node.integer and value != int(value)):
        return f"{show(value)} is not a {'whole number' if node.integer else 'number'}"
    if not node.low <= value <= node.high:
        return f"{show(value)} is not within {node.low:g} .. {node.high:g}"
    if node.step is not None and min(abs(each - value) for each in grid_of(node)) > STEP_ROUNDING * node.step:
        return f"{show(value)} is no step of {node.step:g} above {node.low:g}"
    return None
