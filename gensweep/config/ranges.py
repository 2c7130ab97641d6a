"""A search space as values: ranges, choices, conditionals with a sub-space in each branch; its corners."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

MAX_CORNERS = 64
#: Standard deviation of a prior, in parts of the range.  Source: PriorBand, Mallik et al. 2023.
DEFAULT_WIDTH = 0.25


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched."""

    key: str
    value: Any
    place: str = field(compare=False, default="")


class Prior(NamedTuple):
    """The likeliest value of a range, and the standard deviation on the range's scale, in parts of it."""

    value: float
    width: float = DEFAULT_WIDTH


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
    prior: Prior | None = None


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


Node = Fixed | Range | Choices | Conditional


class Picker(Protocol):
    """Decides, for a walk through the space."""

    def number(self, node: Range, /) -> int | float:
        """A number of the range."""

    def index(self, node: Choices | Conditional, /) -> int:
        """Which of the choices or branches."""


def draw(nodes: Sequence[Node], picker: Picker) -> dict[str, Any]:
    """Overrides for one trial, by dotted key."""
    return {node.key: value for node, value in walk(nodes, picker) if not isinstance(node, Conditional)}


def walk(nodes: Sequence[Node], picker: Picker) -> Iterator[tuple[Node, Any]]:
    """The nodes that one trial meets, with its values; for a conditional the branch."""
    for node in nodes:
        if isinstance(node, Fixed):
            yield node, node.value
        elif isinstance(node, Range):
            yield node, picker.number(node)
        elif isinstance(node, Choices):
            yield node, node.values[picker.index(node)]
        else:
            branch = node.branches[picker.index(node)]
            yield node, branch
            yield from walk(branch.nodes, picker)


class RangeCorner:
    """A picker that takes lowest or highest values throughout; branches, and one forced number or choice, as told.

    `script` holds the branches to take in order of the walk; beyond its end, the first.  Good for one walk.
    """

    def __init__(self, script: Sequence[int], *, high: bool, forced: tuple[Node, float] | None = None) -> None:
        self.script = list(script)
        self.high = high
        self.forced = forced
        self.taken: list[tuple[int, int]] = []  # decision, number of branches

    def number(self, node: Range, /) -> int | float:
        """Either end, unless told otherwise."""
        if self.forced is not None and self.forced[0] is node:
            return self.forced[1]
        return node.high if self.high else node.low

    def index(self, node: Choices | Conditional, /) -> int:
        """As told, else the first or the last."""
        if isinstance(node, Choices):
            if self.forced is not None and self.forced[0] is node:
                return int(self.forced[1])
            return len(node.values) - 1 if self.high else 0
        position = len(self.taken)
        decision = self.script[position] if position < len(self.script) else 0
        self.taken.append((decision, len(node.branches)))
        return decision


def pickers(nodes: Sequence[Node], limit: int = MAX_CORNERS) -> Iterator[RangeCorner]:
    """Pickers that meet every combination of branches at both ends of all ranges.

    If there are too many combinations they meet every branch, but not with every other one.
    """
    scripts = list(itertools.islice(_scripts(nodes), limit // 2 + 1))
    if len(scripts) > limit // 2:
        scripts = list(_covering_scripts(nodes))
    for script in scripts:
        for high in (False, True):
            yield RangeCorner(script, high=high)


def grid_of(node: Range) -> list[int | float]:
    """The numbers of a range with steps, in order."""
    step = node.step or 1
    count = math.floor((node.high - node.low) / step + 1e-9) + 1
    return [on_steps(node, position) for position in range(count)]


def on_steps(node: Range, position: int) -> int | float:
    """The number so many steps above the lowest one, as people write it: 0.3, and not 0.1 + 2 * 0.1."""
    number = node.low + position * (node.step or 1)
    return number if isinstance(number, int) else float(f"{number:.12g}")


def combinations(nodes: Sequence[Node]) -> int | None:
    """How many different trials a space holds, or None if some range has no steps."""
    count = 1
    for node in nodes:
        if isinstance(node, Choices):
            ways: int | None = len(node.values)
        elif isinstance(node, Range):
            step = node.step or (1 if node.integer else None)
            ways = None if step is None else math.floor((node.high - node.low) / step + 1e-9) + 1
        elif isinstance(node, Conditional):
            each = [combinations(branch.nodes) for branch in node.branches]
            ways = None if None in each else sum(n for n in each if n is not None)
        else:
            ways = 1
        if ways is None:
            return None
        count *= ways
    return count


def corners(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """The extreme trials of a space: each branch with all ranges at their low, and with all at their high end."""
    found = {
        json.dumps(corner, sort_keys=True): corner for corner in (draw(nodes, picker) for picker in pickers(nodes))
    }
    return list(found.values())


def _scripts(nodes: Sequence[Node]) -> Iterator[list[int]]:
    """Every combination of branches: counts like an odometer whose wheels depend on those to their left."""
    script: list[int] | None = []
    while script is not None:
        picker = RangeCorner(script, high=False)
        draw(nodes, picker)
        taken = picker.taken
        yield [decision for decision, _ in taken]
        while taken and taken[-1][0] == taken[-1][1] - 1:
            taken.pop()
        script = [*(decision for decision, _ in taken[:-1]), taken[-1][0] + 1] if taken else None


def _covering_scripts(nodes: Sequence[Node]) -> Iterator[list[int]]:
    """Combinations that meet each branch at least once, in number at most that of the branches."""
    met: set[tuple[int, int]] = set()
    queue: list[list[int]] = [[]]
    yield []
    while queue:
        script = queue.pop(0)
        picker = RangeCorner(script, high=False)
        conditionals = [node for node, _ in walk(nodes, picker) if isinstance(node, Conditional)]
        decisions = [decision for decision, _ in picker.taken]
        for position in range(len(script), len(conditionals)):
            for decision in range(1, len(conditionals[position].branches)):
                if (id(conditionals[position]), decision) not in met:
                    met.add((id(conditionals[position]), decision))
                    queue.append([*decisions[:position], decision])
                    yield queue[-1]
