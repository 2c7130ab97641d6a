"""From files and `--set` to configurations: read, override, validate, check; reports all problems at once.

A nested mapping works like a file.  In a sweep, setting a key ends its search.  If a choice of sub-spaces determines
the key, each branch with that key gets the value; setting a `kind` removes the other branches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from gensweep.config import registries
from gensweep.config.problems import Problem, show, unknown
from gensweep.config.schema import shape_of
from gensweep.config.search_space import RANGE_KINDS
from gensweep.config.sweep_checks import check_sweep
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL, Row, Tree, clone, override, precedence
from gensweep.config.trial_config import TrialConfig, check_trial, load_plugins, sections_by_family, trial_model
from gensweep.config.yaml import read_file, read_value
from gensweep.errors import ConfigError

#: Keys of a sweep that neither its trials nor this module read.
SWEEP_SECTIONS = SweepConfig.model_fields.keys() - {"base", "space", "scales"}


class Override(NamedTuple):
    """A dotted key, its new value, and its origin, such as a line."""

    key: str
    value: Any
    place: str


def override_sweep(tree: Tree, path: str | Path, overrides: Sequence[Override], scale: str | None) -> list[Problem]:
    """Apply the scale and then the overrides to a sweep's tree; returns the problems."""
    scales = tree.get("scales")
    known = scales if isinstance(scales, Tree) else Tree()
    problems = [no_scale(path, scale, known)] if scale is not None and scale not in known else []
    if isinstance(values := known.get(scale or ""), Tree):
        written = [Override(key, value, values.places.get(key, str(path))) for key, value in values.items()]
        overrides = [*_in_order(written), *overrides]
    return problems + [found for each in overrides if (found := _assign(tree, *each)) is not None]


def parsed(texts: Iterable[str] | Mapping[str, Any]) -> tuple[list[Override], list[Problem]]:
    """Parse overrides, texts like "a.b=1" or a mapping of dotted keys; returns them and the problems."""
    if isinstance(texts, Mapping):
        return _in_order(Override(key, value, f"{key}={show(value)}") for key, value in texts.items()), []
    overrides, problems = list[Override](), list[Problem]()
    for text in texts:
        key, equals, value = text.partition("=")
        place = f"--set {text}" if text.isprintable() and len(text) <= 120 else f"--set {show(text)}"
        if not equals or not all(part.strip() for part in key.split(".")):
            problems.append(Problem(place, "", "must be key=value, such as --set training.images=20000"))
        elif not value.strip():
            problems.append(Problem(place, "", f"has no value; for null, write {key}=null"))
        else:
            read, found = read_value(value, place)
            problems += [Problem(place, "", problem.message) for problem in found]
            overrides += [] if found else [Override(key.strip(), read, place)]
    return _in_order(overrides), problems


def extended(overrides: Overrides, values: Mapping[str, Any]) -> Overrides:
    """Overrides with further values by dotted key."""
    if isinstance(overrides, Mapping):
        return {**overrides, **values}
    return [*overrides, *(f"{key}={json.dumps(value)}" for key, value in values.items())]


def _in_order(overrides: Iterable[Override]) -> list[Override]:
    """Sort overrides: those with whole sections first; equal keys keep their order."""
    return sorted(overrides, key=lambda each: precedence(each.key))


def no_scale(path: str | Path, scale: str, scales: Sequence[str] | Mapping[str, Any] = ()) -> Problem:
    """The problem if a file has no scale of that name."""
    if not scales:
        return Problem(f"--scale {scale}", "", f"{path} has no scales (a sweep lists them under the key scales)")
    return Problem(f"--scale {scale}", "", unknown(scale, f"a scale of {path}", list(scales)))


def _assign(tree: Tree, key: str, value: Any, place: str) -> Problem | None:
    """Set one dotted key of a sweep's tree, in place; returns a problem if the key is impossible."""
    first, _, rest = key.partition(".")
    if not all(key.split(".")):
        return Problem(place, "", f"{key!r} is not a dotted key, such as training.images")
    if rest and isinstance(tree.get(first), Row):
        return Problem(place, "", f"{first} is a list here; set all of it, as in {first}=[...]")
    if first in SWEEP_SECTIONS:
        override(tree, key, value, place)
        return None
    if first == "scales" or key in ("base", "space"):
        return Problem(place, "", f"{first} cannot be set as a whole; set one of its keys")
    for section in ("base", "space"):
        if not isinstance(tree.setdefault(section, Tree()), Tree):
            return None  # The schema reports it.
    in_space = first == "space"
    target = tuple((rest if first in ("base", "space") and rest else key).split("."))
    tree["space"] = space = _spread(tree["space"])
    taken = _narrow(space, target, value, place)
    if in_space and not taken and value is not None:
        space[".".join(target)] = clone(value)
        space.places[".".join(target)] = place
    elif not in_space and not taken:
        override(tree["base"], ".".join(target), value, place)
    return None


def _spread(tree: Tree, prefix: str = "") -> Tree:
    """The same space with dotted keys instead of mappings in mappings."""
    flat = Tree()
    for key, value in tree.items():
        if isinstance(value, Tree) and value and not any(name in value for name in RANGE_KINDS):
            below = _spread(value, f"{prefix}{key}.")
        else:
            below = Tree({prefix + key: value}, {prefix + key: tree.places.get(key, "")})
        flat.update(below)
        flat.places |= below.places
    return flat


def _narrow(space: Tree, target: tuple[str, ...], value: Any, place: str, above: tuple[str, ...] = ()) -> bool:
    """Remove ranges at or inside the target from a space below `above`; True if a choice determines the target."""
    taken = False
    for key in list(space):
        path = _path(above, key)
        decides = target[: len(path)] == path or (path == ("family",) and target[0] not in SECTIONS_OF_EVERY_TRIAL)
        if path[: len(target)] == target:
            del space[key]
        elif not _is_conditional(space[key]) or not (decides or path == ("family",)):
            continue
        elif target == (*path, "kind"):
            row = space[key]["choice"]
            kept = [position for position, branch in enumerate(row) if branch.get("kind") == value]
            space[key] = Tree({"choice": Row([row[i] for i in kept], [row.places[i] for i in kept])}, space[key].places)
            if not kept:
                del space[key]
            taken |= bool(kept)
        else:
            space[key] = clone(space[key])
            row = space[key]["choice"]
            for position, branch in enumerate(map(_spread, row)):
                row[position] = branch
                # A setting of all trials belongs to the base, even with a choice of families.
                if _narrow(branch, target, value, place, path):
                    taken |= decides
                elif decides and _has_key(path, branch.get("kind"), target):
                    taken = True
                    if value is not None:
                        name = ".".join(target[len(path) :] if target[: len(path)] == path else target)
                        branch[name], branch.places[name] = clone(value), place
    return taken


def _path(above: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The full key of an entry of a sub-space; in a choice over `family`, sections have their own names."""
    parts = tuple(key.split("."))
    sections = {name for names in sections_by_family().values() for name in names} | set(SECTIONS_OF_EVERY_TRIAL)
    return parts if above == ("family",) and parts[0] in sections else (*above, *parts)


def _is_conditional(item: Any) -> bool:
    choice = item.get("choice") if isinstance(item, Tree) else None
    return isinstance(choice, Row) and bool(choice) and all(isinstance(each, Tree) for each in choice)


def _has_key(path: tuple[str, ...], kind: Any, target: tuple[str, ...]) -> bool:
    """True if some trial has the target when the choice at `path` is of that kind."""
    families = registries.families()
    chosen = [family for family in families if path != ("family",) or family == kind]
    return any(_is_below(trial_model(family), target, path, kind) for family in chosen)


def _is_below(model: type[BaseModel] | None, target: tuple[str, ...], path: tuple[str, ...], kind: Any) -> bool:
    """True if a dotted key exists below a model, in any kind, or at `path` in this kind."""
    if model is None or target[0] not in model.model_fields:
        return False
    shape = shape_of(model, target[0])
    if len(target) == 1 or shape is None:
        return len(target) == 1
    below = [shape.chosen({"kind": kind} if kind else {})] if path == target[:1] else [*shape.models.values()]
    return any(_is_below(each, target[1:], path[1:], kind) for each in below)


C = TypeVar("C")
Source: TypeAlias = str | Path | Mapping[str, Any]
"""A YAML file, or a nested mapping with the same content."""
Overrides: TypeAlias = Sequence[str] | Mapping[str, Any]
"""Texts such as "training.images=20000", or values by dotted key."""


def load_sweep(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep, apply and remove its scales, then apply overrides.  Raises ConfigError with all problems."""
    tree, misread, place = _read(source)
    if "base" not in tree and "family" in tree:
        raise ConfigError(f"{place}: is the configuration of one trial, not of a sweep; run `gensweep train {place}`")
    given, problems = parsed(overrides)
    problems += override_sweep(tree, place, given, scale)
    return _checked(tree, place, misread, problems).model_copy(update={"scales": {}})


def load_trial(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> TrialConfig:
    """Read a trial and apply the overrides.  Raises ConfigError with all problems."""
    tree, misread, place = _read(source)
    given, problems = parsed(overrides)
    problems += [no_scale(place, scale)] if scale is not None else []
    for each in given:
        override(tree, *each)
    config, more = check_trial(tree, default_place=place)
    return _valid(config, misread, problems + more)


def load_base(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep's base as one trial, without its space.  Raises ConfigError with all problems."""
    tree, misread, place = _read(source)
    given, problems = parsed(overrides)
    searched = ("space", "search")
    tree = Tree({key: value for key, value in tree.items() if key not in searched}, tree.places)
    problems += override_sweep(tree, place, given, scale)
    for key in searched:  # a scale may have set some of their keys
        tree.pop(key, None)
    return _checked(tree, place, [each for each in misread if each.key.partition(".")[0] not in searched], problems)


def is_sweep(source: Source) -> bool:
    """True for the file of a sweep, False for that of a trial.  Raises ConfigError if it cannot be read."""
    tree = source if isinstance(source, Mapping) else read_file(source)[0]
    return any(key in tree for key in ("base", "space", "search"))


def scale_names(path: str | Path) -> list[str]:
    """The scales in a file.  Raises ConfigError if it cannot be read."""
    scales = read_file(path)[0].get("scales")
    return list(scales) if isinstance(scales, Tree) else []


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1"]` -> `{"a.b": 1}`; values are read as YAML.  Raises ConfigError with all problems."""
    overrides, problems = parsed(texts)
    return _valid({key: value for key, value, _ in overrides}, [], problems)


def _read(source: Source) -> tuple[Tree, list[Problem], str]:
    """A tree with its plug-ins imported, the problems of its YAML, and its name."""
    if isinstance(source, Mapping):
        tree, misread, place = clone(source), list[Problem](), "the mapping"
    elif isinstance(source, str | PathLike):
        (tree, misread), place = read_file(source), str(source)
    else:
        raise ConfigError(f"{source!r} is not a configuration; pass the path of a YAML file or a mapping")
    base = tree.get("base")
    _valid(None, [], load_plugins(tree, place) + (load_plugins(base, place) if isinstance(base, Tree) else []))
    return tree, misread, place


def _checked(tree: Tree, place: str, misread: list[Problem], problems: list[Problem]) -> SweepConfig:
    config, more = check_sweep(tree, place)
    return _valid(config, misread, problems + more)


def _valid(config: C | None, misread: list[Problem], problems: list[Problem]) -> C:
    """Validate the configuration.  Raises all problems in the file's order, except those caused by misread values."""
    found = [Problem(each.place, each.key.removeprefix("base."), each.message) for each in misread]
    found += [
        problem
        for problem in problems
        if not any(each.place == problem.place and problem.key.rpartition(".")[2] in each.key for each in found)
    ]
    if found:
        raise ConfigError(list(dict.fromkeys(map(str, sorted(found, key=_order)))))
    return cast(C, config)


def _order(problem: Problem) -> tuple[bool, int]:
    line = problem.place.rpartition(":")[2]
    return (problem.place.startswith("--"), int(line) if line.isdecimal() else 0)
