"""The `space` of a sweep as it is written: ranges and choices by dotted key, nested to any depth.

    {int: [low, high], step: 1, log: false}      {float: [low, high], step: null, log: false}
    either with a prior: VALUE, or prior: {value: VALUE, width: 0.25}
    {choice: [values]}                           {choice: [{kind: a, setting: range or value, ...}, {kind: b, ...}]}

An element of a choice that is a mapping opens a sub-space.  A choice over `family` may carry sections of the family.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeAlias

from gensweep.config.problems import Problem, show
from gensweep.config.ranges import Branch, Choices, Conditional, Fixed, Node, Prior, Range
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL, Row, Tree

RANGE_KINDS = ("int", "float", "choice")
#: Wider beliefs are none.
MAX_PRIOR_WIDTH = 10.0


# A node and the branches that lead to it: each conditional's key and the index of its branch.
_Leaf: TypeAlias = tuple[Node, tuple[tuple[str, int], ...]]


def parse_space(tree: Tree, sections: Mapping[str, Sequence[str]]) -> tuple[tuple[Node, ...], list[Problem]]:
    """The nodes of a space, and all problems of its form; values are checked against the schema later, at the corners.

    `sections` tells which sections a family has, for a choice over `family` that carries them.
    """
    parser = _Parser(sections)
    nodes = parser.tree(tree, ())
    leaves = list(_leaves(nodes, ()))
    distributions = defaultdict(set)
    for node, _ in leaves:
        if not isinstance(node, Fixed):
            distributions[node.key].add(_distribution(node))
    differing = {key for key, found in distributions.items() if len(found) > 1}
    return tuple(_renamed(node, differing, ()) for node in nodes), [*parser.problems, *_twice(leaves)]


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
            raise self._refused(place, path, f"is {' and '.join(sorts)} at once; take one of them")
        allowed = {"choice": ()}.get(sorts[0], ("step", "log", "prior"))
        for key in value:
            if key not in (sorts[0], *allowed):
                what = f"does not go with {sorts[0]}" + (f" (known: {', '.join(allowed)})" if allowed else "")
                self._problem(value.places.get(key, place), path, f"{show(key)} {what}")
        if sorts[0] == "choice":
            return self._choice(value["choice"], path, place)
        return self._range(value, path, place, integer=sorts[0] == "int")

    def _range(self, tree: Tree, path: tuple[str, ...], place: str, *, integer: bool) -> Range:
        sort = "int" if integer else "float"
        bounds, step, log = tree[sort], tree.get("step"), tree.get("log", False)
        what = "whole numbers" if integer else "numbers"
        if not isinstance(bounds, list) or len(bounds) != 2 or not all(_is_number(each, integer) for each in bounds):
            raise self._refused(place, path, f"{sort} takes two {what}, [low, high], but got {show(bounds)}")
        low, high = (each if integer else float(each) for each in bounds)
        before = len(self.problems)
        if low > high:
            self._problem(place, path, f"low <= high must hold, but got low={show(low)}, high={show(high)}")
        if not isinstance(log, bool):
            self._problem(place, path, f"log: {show(log)} is not true or false")
        elif log and low <= 0:
            self._problem(place, path, f"log needs low > 0, but got low={show(low)}")
        if log and step is not None:
            self._problem(place, path, "step and log do not go together; take one of them")
        elif step is not None and (not _is_number(step, integer) or step <= 0):
            self._problem(place, path, f"step must be a {what[:-1]} > 0, but got {show(step)}")
        elif step is not None and low <= high:
            self._steps(low, high, step, path, place)
        if len(self.problems) > before:
            raise _RefusedError
        key = ".".join(path)
        step = step if integer or step is None else float(step)
        return Range(key, key, low, high, step, bool(log), integer, place, self._prior(tree, low, high, path, place))

    def _prior(self, tree: Tree, low: float, high: float, path: tuple[str, ...], place: str) -> Prior | None:
        """What is believed of a range, if anything."""
        if "prior" not in tree:
            return None
        place, written = tree.places.get("prior", place), tree["prior"]
        parts = written if isinstance(written, Tree) else {"value": written}
        if not parts.keys() <= {"value", "width"} or not all(_is_number(each, False) for each in parts.values()):
            form = f"prior takes a number or {{value: number, width: number}}, but got {show(written)}"
            raise self._refused(place, path, form)
        prior = Prior(**{"value": low - 1, **parts})
        if not low <= prior.value <= high:
            raise self._refused(place, path, f"prior: {show(parts.get('value'))} is not within {low:g} .. {high:g}")
        if not 0 < prior.width <= MAX_PRIOR_WIDTH:
            told = f"prior: a width of {show(prior.width)} is not within 0 .. {MAX_PRIOR_WIDTH:g} (parts of the range)"
            raise self._refused(place, path, told)
        return prior

    def _steps(self, low: float, high: float, step: float, path: tuple[str, ...], place: str) -> None:
        start, end, width = (Decimal(str(each)) for each in (low, high, step))
        if (end - start) % width:
            reached = start + (end - start) // width * width
            message = f"high={high} is no whole number of steps of {step} above low={low}; write high={reached}"
            self._problem(place, path, message)

    def _choice(self, values: Any, path: tuple[str, ...], place: str) -> Choices | Conditional:
        key = ".".join(path)
        if not isinstance(values, Row) or not values:
            raise self._refused(place, path, f"choice takes a list of one value or more, but got {show(values)}")
        texts = [json.dumps(value, sort_keys=True) for value in values]
        for position, text in enumerate(texts):
            if text in texts[:position]:
                self._problem(values.places[position], path, f"{show(values[position])} stands twice in the choice")
        mappings = [isinstance(value, Tree) for value in values]
        if not any(mappings):
            loose = [str(value) if not isinstance(value, list) else json.dumps(value) for value in values]
            if len(set(texts)) == len(texts) and len({json.dumps(_loose(v)) for v in values}) < len(texts):
                raise self._refused(place, path, f"the values {', '.join(loose)} are not all different")
            return Choices(key, key, tuple(values), place)
        if not all(mappings):
            odd = values[mappings.index(False)]
            hint = f"; write {{kind: {odd}}}" if isinstance(odd, str) else ""
            raise self._refused(
                values.places[mappings.index(False)], path, f"{show(odd)} stands among mappings in one choice{hint}"
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
        # Sections of the family, and common ones, stand beside `family` and not in it.
        names = (*self.sections.get(kind, ()), *(name for name in SECTIONS_OF_EVERY_TRIAL if name != "family"))
        section = {key: key.split(".")[0] in names for key in value}
        inside = Tree({key: item for key, item in value.items() if not section[key]}, value.places)
        beside = Tree({key: item for key, item in value.items() if section[key]}, value.places)
        return self.tree(inside, path) + self.tree(beside, ())

    def _problem(self, place: str, path: tuple[str, ...], message: str) -> None:
        self.problems.append(Problem(place, "space: " + ".".join(path), message))

    def _refused(self, place: str, path: tuple[str, ...], message: str) -> _RefusedError:
        self._problem(place, path, message)
        return _RefusedError()


class _RefusedError(Exception):
    """A node has a problem that leaves nothing to go on with; the problem is noted."""


def _leaves(nodes: Iterable[Node], chain: tuple[tuple[str, int], ...]) -> Iterator[_Leaf]:
    for node in nodes:
        yield node, chain
        for position, branch in enumerate(node.branches if isinstance(node, Conditional) else ()):
            yield from _leaves(branch.nodes, (*chain, (node.key, position)))


def _twice(leaves: Sequence[_Leaf]) -> Iterator[Problem]:
    """Keys that one and the same trial would be given twice."""
    by_key: defaultdict[str, list[_Leaf]] = defaultdict(list)
    for node, chain in leaves:
        first = next((each for each, other in by_key[node.key] if not _exclusive(other, chain)), None)
        if first is not None:
            yield Problem(node.place, f"space: {node.key}", f"is given twice; the first is at {first.place}")
        by_key[node.key].append((node, chain))


def _exclusive(first: Sequence[tuple[str, int]], second: Sequence[tuple[str, int]]) -> bool:
    """Whether two chains of branches part at the same conditional, so that no trial goes both ways."""
    for (key, branch), (other_key, other_branch) in zip(first, second, strict=False):
        if key != other_key:
            return False
        if branch != other_branch:
            return True
    return False


def _renamed(node: Node, differing: Set[str], labels: tuple[str, ...]) -> Node:
    """The node under its name in the study: `key@branch` where branches give one key different ranges."""
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
    """What Optuna must not see change under one name."""
    if isinstance(node, Range):
        return (node.integer, node.low, node.high, node.step, node.log, node.prior)
    return json.dumps(node.labels) if isinstance(node, Choices | Conditional) else None


def _is_number(value: Any, integer: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) if integer else math.isfinite(value)


def _loose(value: Any) -> Any:
    """Values that Python, and so Optuna, takes for equal: 1, 1.0 and true."""
    return float(value) if isinstance(value, bool | int) and abs(int(value)) < 2**53 else value
