"""Trees of settings with the place of each key, and changes to them."""

from __future__ import annotations

import numbers
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# Sections of every trial; all others belong to its family.
SECTIONS_OF_EVERY_TRIAL = ("plugins", "seed", "data", "family", "start", "training", "evaluation")


class Tree(dict[str, Any]):
    """A mapping that knows the place of each key ("ddpm.yaml:14")."""

    def __init__(self, items: Mapping[str, Any] | None = None, places: Mapping[str, str] | None = None) -> None:
        super().__init__(items or {})
        self.places: dict[str, str] = dict(places or {})


class Row(list[Any]):
    """A list that knows the place of each item."""

    def __init__(self, items: Iterable[Any] = (), places: Iterable[str] = ()) -> None:
        super().__init__(items)
        self.places: list[str] = list(places)


def clone(value: Any) -> Any:
    """A deep copy with places; plain mappings become trees without places, paths text, NumPy numbers Python numbers."""
    if isinstance(value, Mapping):
        places = value.places if isinstance(value, Tree) else None
        return Tree({key: clone(item) for key, item in value.items()}, places)
    if isinstance(value, list | tuple):
        return Row([clone(item) for item in value], value.places if isinstance(value, Row) else ())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return value.item()
    return value


def place_of(tree: Any, path: Sequence[str | int], default: str = "") -> str:
    """The place of a path, or of the nearest key above it; keys of the tree may be dotted."""
    if isinstance(tree, Tree):
        for end in range(1, len(path) + 1):
            if (key := key_of(path[:end])) in tree:
                return place_of(tree[key], path[end:], tree.places.get(key, default))
    elif isinstance(tree, Row) and path and isinstance(path[0], int) and path[0] < len(tree):
        place = tree.places[path[0]] if path[0] < len(tree.places) else default
        return place_of(tree[path[0]], path[1:], place)
    return default


def key_of(path: Iterable[str | int]) -> str:
    """A path as a dotted key: "constraints[0].metric"."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def path_of(key: str) -> list[str | int]:
    """The inverse of `key_of`."""
    return [int(part) if part.isdecimal() else part for part in key.replace("[", ".").replace("]", "").split(".")]


def override(tree: Tree, key: str, value: Any, place: str = "") -> None:
    """Set one dotted key, in place; a new `kind` drops the old one's settings, a new family also its sections."""
    *parents, last = key.split(".")
    node = tree
    for part in parents:
        if not isinstance(node.get(part), Tree):
            node[part] = Tree()
            node.places[part] = place
        node = node[part]
    if _changes_family(tree, key, value):
        for section in [name for name in tree if name not in SECTIONS_OF_EVERY_TRIAL]:
            del tree[section]
    if last == "kind" and node.get("kind", value) != value:
        node.clear()
    node[last] = clone(value)
    node.places[last] = place


def _changes_family(tree: Tree, key: str, value: Any) -> bool:
    old, new = (each.get("kind") if isinstance(each, Mapping) else None for each in (tree.get("family"), value))
    new = value if key == "family.kind" else new if key == "family" else None
    return None not in (old, new) and old != new


def precedence(key: str) -> tuple[bool, int, bool]:
    """Sort key that puts a dotted key before keys that it drops: the family, then whole sections and kinds."""
    inside = key.removeprefix("base.")
    return inside not in ("family", "family.kind"), inside.count("."), not inside.endswith("kind")


def override_all(tree: Any, settings: Mapping[str, Any], places: Mapping[str, str] | None = None) -> Tree:
    """A copy with several dotted keys set, in any order."""
    copy: Tree = clone(tree)
    for key in sorted(settings, key=precedence):
        override(copy, key, settings[key], (places or {}).get(key, ""))
    return copy


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values; lists are values."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
