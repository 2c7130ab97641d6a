"""Settings that are written down, as a point of a search space: the parameters of a study that give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gensweep.config.problems import listed, show
from gensweep.config.ranges import Choices, Conditional, Fixed, Node, Range, every_node, grid_of
from gensweep.config.tree import flatten

#: Numbers of a range with steps that differ by this share of a step are one.
STEP_ROUNDING = 1e-6


@dataclass
class Point:
    """Parameters by their names in the study; missing ones are sampled.

    `given` are the keys that it decides, `missing` the keys of the space that the settings lack.  `problems` are
    settings outside of the space, by key; `conflicting` are keys that a branch fixes at another value, with that value.
    """

    params: dict[str, Any] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    conflicting: dict[str, Any] = field(default_factory=dict)


def point_of(nodes: Sequence[Node], settings: Mapping[str, Any]) -> Point:
    """The point that settings, nested or by dotted key, mean.  Settings that are not searched change nothing."""
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
    """Take the branch that the kind names; of several, or without kinds, the one that fits the settings best."""
    kind = settings.get(f"{node.key}.kind", settings.get(node.key))
    named = [branch for branch in node.branches if branch.label.partition("#")[0] in ("", kind)]
    if kind is not None and not named:
        kinds = listed(dict.fromkeys(label.partition("#")[0] for label in node.labels))
        point.problems.append((f"{node.key}.kind", f"{show(kind)} is not searched (known: {kinds})"))
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
        # What every branch fixes alike keeps its value, whatever is given.
        if any(other.conflicting.get(key) != fixed for _, other in fitted):
            point.problems.append((key, f"{show(settings[key])} does not go with the other settings of this trial"))
    point.conflicting |= chosen.conflicting
    point.params |= {node.name: label, **chosen.params}
    point.given |= {f"{node.key}.kind", node.key} | chosen.given
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
