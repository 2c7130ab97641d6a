"""What is set from outside, by `--set key=value` or a scale, put into the tree of a file.

In a sweep a key that gets a value is no longer searched.  Where a choice of sub-spaces decides about the key, the value
goes into each branch that has such a key, and a `kind` leaves only its own branch, with all that is searched there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from gensweep.config import registries
from gensweep.config.problems import Problem, show, unknown
from gensweep.config.schema import has_key, shape_of
from gensweep.config.search_space import RANGE_KINDS
from gensweep.config.tree import SECTIONS_OF_EVERY_TRIAL, Row, Tree, clone, override, precedence
from gensweep.config.trial_config import sections_by_family, trial_model
from gensweep.config.yaml import read_value

SWEEP_SECTIONS = (
    "name",
    "plugins",
    "objective",
    "constraints",
    "budget",
    "search",
    "resources",
    "observers",
    "keep_best",
    "rescore",
    "final",
)


class Override(NamedTuple):
    """A dotted key, its new value, and where that was written."""

    key: str
    value: Any
    place: str


def override_sweep(tree: Tree, path: str | Path, overrides: Sequence[Override], scale: str | None) -> list[Problem]:
    """Put the scale and then the overrides into a sweep's tree; returns the problems."""
    problems: list[Problem] = []
    scaled: list[Override] = []
    if scale is not None:
        scales = tree.get("scales")
        values = scales.get(scale) if isinstance(scales, Tree) else None
        if isinstance(values, Tree):
            written = [Override(key, value, values.places.get(key, str(path))) for key, value in values.items()]
            scaled = _in_order(written)
        elif not isinstance(scales, Tree) or scale not in scales:
            problems.append(no_scale(path, scale, scales))
    return problems + [found for each in (*scaled, *overrides) if (found := _assign(tree, *each)) is not None]


def parsed(texts: Iterable[str] | Mapping[str, Any]) -> tuple[list[Override], list[Problem]]:
    """The overrides in texts like "a.b=1", or of a mapping of dotted keys, and what is wrong with the others.

    Their order says nothing, but that of two with the same key the last one holds.
    """
    problems: list[Problem] = []
    if isinstance(texts, Mapping):
        overrides = [Override(key, value, f"{key}={show(value)}") for key, value in texts.items()]
    else:
        overrides = [each for text in texts for each in _parsed(text, problems)]
    return _in_order(overrides), problems


def _in_order(overrides: Iterable[Override]) -> list[Override]:
    """One that drops others comes before them; those with the same key stay in their order."""
    return sorted(overrides, key=lambda each: precedence(each.key))


def _parsed(text: str, problems: list[Problem]) -> Iterator[Override]:
    key, equals, value = text.partition("=")
    place = f"--set {text}" if text.isprintable() and len(text) <= 120 else f"--set {show(text)}"
    if not equals or not all(part.strip() for part in key.split(".")):
        problems.append(Problem(place, "", "must be key=value, such as --set training.images=20000"))
    elif not value.strip():
        problems.append(Problem(place, "", f"has no value; write {key}=null if that is meant"))
    else:
        reading = read_value(value, place)
        problems += [Problem(place, "", problem.message) for problem in reading.problems]
        if not reading.problems:
            yield Override(key.strip(), reading.value, place)


def no_scale(path: str | Path, scale: str, scales: Any = None) -> Problem:
    """That a file has no scale of that name."""
    if not isinstance(scales, Tree) or not scales:
        return Problem(f"--scale {scale}", "", f"{path} has no scales (a sweep lists them under the key scales)")
    return Problem(f"--scale {scale}", "", unknown(scale, f"a scale of {path}", list(scales)))


def _assign(tree: Tree, key: str, value: Any, place: str) -> Problem | None:
    """Set one dotted key of a sweep's tree, in place; returns a problem if there can be no such key."""
    first, _, rest = key.partition(".")
    if not all(key.split(".")):
        return Problem(place, "", f"{key!r} is not a dotted key, such as training.images")
    if rest and isinstance(tree.get(first), Row):
        return Problem(place, "", f"{first} is a list here; give all of it, as in {first}=[...]")
    if first in SWEEP_SECTIONS:
        override(tree, key, value, place, trial=False)
        return None
    if first == "scales" or key in ("base", "space"):
        return Problem(place, "", f"{first} cannot be set as a whole; name one key of it")
    for section in ("base", "space"):
        if not isinstance(tree.setdefault(section, Tree()), Tree):
            return None  # The schema reports it.
    in_space = first == "space"
    target = tuple((rest if first in ("base", "space") and rest else key).split("."))
    tree["space"] = space = _spread(tree["space"], ())
    taken = _narrow(space, target, value, place, ())
    if in_space and not taken and value is not None:
        space[".".join(target)] = clone(value)
        space.places[".".join(target)] = place
    elif not in_space and not taken:
        override(tree["base"], ".".join(target), value, place)
    return None


def _spread(tree: Tree, prefix: tuple[str, ...]) -> Tree:
    """The same space with dotted keys instead of mappings in mappings."""
    flat = Tree()
    for key, value in tree.items():
        path = (*prefix, key)
        if isinstance(value, Tree) and not any(name in value for name in RANGE_KINDS):
            below = _spread(value, path)
            flat.update(below)
            flat.places |= below.places
        else:
            flat[".".join(path)] = value
            flat.places[".".join(path)] = tree.places.get(key, "")
    return flat


def _narrow(space: Tree, target: tuple[str, ...], value: Any, place: str, above: tuple[str, ...]) -> bool:
    """Take ranges at or inside the target out of a (sub-)space; True if a choice decides about the target.

    `above` is the key of the choice that the sub-space belongs to.
    """
    taken = False
    for key in list(space):
        path = _path(above, key)
        item = space[key]
        if path[: len(target)] == target:
            del space[key]
        elif _is_conditional(item) and (
            target[: len(path)] == path or (path == ("family",) and target[0] not in SECTIONS_OF_EVERY_TRIAL)
        ):
            item = space[key] = clone(item)
            if target == (*path, "kind"):
                kept = [
                    (b, p) for b, p in zip(item["choice"], item["choice"].places, strict=True) if b.get("kind") == value
                ]
                item["choice"] = Row([branch for branch, _ in kept], [at for _, at in kept])
                taken = bool(kept)
                if not kept:
                    del space[key]
                continue
            for position, branch in enumerate(item["choice"]):
                taken |= _narrow_branch(item["choice"], position, branch, target, value, place, path)
        elif _is_conditional(item) and path == ("family",):  # the target is a setting of every trial, and so of base
            item = space[key] = clone(item)
            for position, branch in enumerate(item["choice"]):
                item["choice"][position] = branch = _spread(branch, ())
                _narrow(branch, target, value, place, path)
    return taken


def _narrow_branch(
    row: Row, position: int, branch: Tree, target: tuple[str, ...], value: Any, place: str, path: tuple[str, ...]
) -> bool:
    row[position] = branch = _spread(branch, ())
    if _narrow(branch, target, value, place, path):
        return True
    if not any(has_key(model, rest) for model, rest in _models(path, branch.get("kind"), target)):
        return False
    if value is not None or branch is None:
        name = ".".join(target[len(path) :] if target[: len(path)] == path else target)
        branch[name] = clone(value)
        branch.places[name] = place
    return True


def _path(above: tuple[str, ...], key: str) -> tuple[str, ...]:
    """The full key of an entry of a sub-space; sections in a choice over `family` stand beside it."""
    parts = tuple(key.split("."))
    sections = {name for names in sections_by_family().values() for name in names} | set(SECTIONS_OF_EVERY_TRIAL)
    if above == ("family",) and parts[0] in sections:
        return parts
    return (*above, *parts)


def _is_conditional(item: Any) -> bool:
    choice = item.get("choice") if isinstance(item, Tree) else None
    return isinstance(choice, Row) and bool(choice) and all(isinstance(each, Tree) for each in choice)


def _models(
    path: tuple[str, ...], kind: Any, target: tuple[str, ...]
) -> Iterator[tuple[type[BaseModel] | None, tuple[str, ...]]]:
    """The models that a branch of that kind may be, each with what remains of the target."""
    if path == ("family",):
        if kind in registries.families():
            yield trial_model(kind), target
        return
    for family in registries.families():
        models: list[type[BaseModel]] = [trial_model(family)]
        for part in path:
            shapes = [shape_of(model, part) for model in models if part in model.model_fields]
            models = [model for shape in shapes if shape for model in shape.models.values()]
            last = [shape for shape in shapes if shape]
        for shape in last:
            yield shape.chosen({"kind": kind} if kind else {}), target[len(path) :]
