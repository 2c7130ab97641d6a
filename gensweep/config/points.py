"""Settings that somebody has written down, as a point of a search space: the parameters of a study that give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gensweep.config.prior import probability_below
from gensweep.config.problems import listed, show
from gensweep.config.ranges import Choices, Conditional, Fixed, Node, Range, grid_of
from gensweep.config.tree import flatten

#: Numbers of a range with steps that differ by this share of a step are one.
STEP_ROUNDING = 1e-6


@dataclass
class Point:
    """Parameters by their names in the study; those that are left out are drawn.

    `met` are the keys of the settings that it gives, `missing` those that the space asks for and nobody gave.
    `problems` say by key why settings lie outside of the space; `overruled` are keys that have one other value there.
    """

    params: dict[str, Any] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    overruled: list[str] = field(default_factory=list)


def point_of(nodes: Sequence[Node], settings: Mapping[str, Any]) -> Point:
    """The point that settings, nested or by dotted key, mean.  Settings that are not searched change nothing."""
    point = Point()
    _add(point, nodes, dict(flatten(settings)))
    return point


def _add(point: Point, nodes: Sequence[Node], settings: Mapping[str, Any]) -> None:
    for node in nodes:
        if isinstance(node, Fixed):
            point.met.add(node.key)
            if settings.get(node.key, node.value) != node.value:
                point.overruled.append(node.key)
        elif isinstance(node, Conditional):
            _add_branch(point, node, settings)
        elif node.key not in settings:
            point.missing.append(node.key)
        else:
            point.met.add(node.key)
            value = settings[node.key]
            outside = _outside(node, value)
            if outside is not None:
                point.problems.append((node.key, outside))
            elif isinstance(node, Choices):
                point.params[node.name] = node.labels[node.values.index(value)]
            elif node.prior is not None:
                point.params[node.name] = probability_below(node, node.prior, value)
            else:
                point.params[node.name] = int(value) if node.integer else float(value)


def _add_branch(point: Point, node: Conditional, settings: Mapping[str, Any]) -> None:
    """Take the branch that the kind names; of several, or without kinds, the one that fits the settings best."""
    kind = settings.get(f"{node.key}.kind", settings.get(node.key))
    named = [branch for branch in node.branches if branch.label.partition("#")[0] in ("", kind)]
    if kind is not None and not named:
        kinds = listed(dict.fromkeys(label.partition("#")[0] for label in node.labels))
        point.problems.append((f"{node.key}.kind", f"{show(kind)} is not searched (known: {kinds})"))
        return
    if kind is None and node.name.partition("@")[0] == f"{node.key}.kind":
        point.missing.append(f"{node.key}.kind")
        return
    decided = {each.key for branch in named for each in every_node(branch.nodes)}
    if kind is None and len(named) > 1 and not decided & settings.keys():
        point.missing.append(node.key)
        return
    below = {branch.label: point_of(branch.nodes, settings) for branch in named}

    def misfit(item: tuple[str, Point]) -> tuple[int, int, int]:
        return len(item[1].overruled), len(item[1].problems), -len(item[1].met & settings.keys())

    label, chosen = min(below.items(), key=misfit)
    every, told = [each for branch in named for each in every_node(branch.nodes)], dict(chosen.problems)
    for key in chosen.overruled:
        if key in told:
            continue
        others = [each for each in every if each.key == key]
        known = list(dict.fromkeys(show(each.value) for each in others if isinstance(each, Fixed)))
        if not all(isinstance(each, Fixed) for each in others):
            point.problems.append((key, f"{show(settings[key])} does not go with the other settings of this trial"))
        elif len(known) > 1:
            point.problems.append((key, f"{show(settings[key])} is not one of {', '.join(known)}"))
    point.overruled += chosen.overruled
    point.params[node.name] = label
    point.params |= chosen.params
    point.met |= {f"{node.key}.kind", node.key} | chosen.met
    point.missing += chosen.missing
    point.problems += chosen.problems


def _outside(node: Range | Choices, value: Any) -> str | None:
    """Why a value is none of a node's, if so."""
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


def every_node(nodes: Sequence[Node]) -> Iterator[Node]:
    """All nodes of a space, those of every branch included."""
    for node in nodes:
        yield node
        for branch in node.branches if isinstance(node, Conditional) else ():
            yield from every_node(branch.nodes)


def keys_of(nodes: Sequence[Node]) -> set[str]:
    """All keys that a space decides about."""
    every = list(every_node(nodes))
    return {node.key for node in every} | {f"{node.key}.kind" for node in every if isinstance(node, Conditional)}
