"""A pydantic model as a user sees it: the keys at each place, and the problems of a tree of values.

A place for one of several kinds is a field whose type is a union of models, each with a literal `kind`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeGuard, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from gensweep.config.problems import Problem, describe_field, listed, show, unknown
from gensweep.config.tree import Tree, clone, flatten, key_of, place_of
from gensweep.redaction import ADVICE, holds_secret, redact
from gensweep.registry import Choice

M = TypeVar("M", bound=BaseModel)
#: True and false in YAML 1.1, which are text in YAML 1.2.
BOOLEANS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


@dataclass(frozen=True)
class Shape:
    """The allowed keys of a mapping: models by kind; a plain section has only the kind ""."""

    noun: str
    default: str | None
    models: dict[str, type[BaseModel]]

    @property
    def kinds(self) -> list[str]:
        """The kinds, if there are any."""
        return [kind for kind in self.models if kind]

    def chosen(self, tree: Any) -> type[BaseModel] | None:
        """The model of a tree's kind, or of the default."""
        if "" in self.models:
            return self.models[""]
        kind = tree.get("kind", self.default) if isinstance(tree, dict) else self.default
        return self.models.get(kind) if isinstance(kind, str) else None

    def example(self) -> str:
        """An example in YAML."""
        if self.kinds:
            return f"{{kind: {self.default or self.kinds[0]}}}"
        return f"{{{next(iter(self.models[''].model_fields), '')}: ...}}"

    def refusal(self, value: Any) -> str:
        """Why a value is not allowed here."""
        if not isinstance(value, dict):
            if isinstance(value, str) and value in self.kinds:
                return f"{show(value)} is not a mapping; write {{kind: {value}}}"
            return f"{show(value)} is not a mapping of settings; write it like {self.example()}"
        if "kind" not in value:
            return f"kind is missing (known: {listed(self.kinds)})"
        if isinstance(value["kind"], str):
            return unknown(value["kind"], f"{'an' if self.noun[0] in 'aeiou' else 'a'} {self.noun}", self.kinds)
        return f"{show(value['kind'])} is not a name (known: {listed(self.kinds)})"


@functools.cache
def shape_of(model: type[BaseModel], name: str) -> Shape | None:
    """The shape of a field, or None if it holds a value."""
    hint = model.model_fields[name].annotation
    options = typing.get_args(hint) if not isinstance(hint, type) else (hint,)
    options = tuple(each for each in options if each is not type(None))
    models = [each for each in options if _is_section(each)]
    if not models or len(models) != len(options):
        return None
    mark = next((each for each in model.model_fields[name].metadata if isinstance(each, Choice)), None)
    noun = mark.registry.noun if mark else name.replace("_", " ")
    return Shape(noun, mark.default if mark else None, {_kind(each): each for each in models})


@functools.cache
def item_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The shape of each item of a list of sections, or None."""
    hint = model.model_fields[name].annotation
    item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None
    return item if _is_section(item) else None


def _is_section(hint: Any) -> TypeGuard[type[BaseModel]]:
    """True for a type with keys."""
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def summary(model: type[BaseModel]) -> str:
    """The description of a section or kind: the first paragraph of its docstring."""
    return (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ")


def meaning(model: type[BaseModel], name: str) -> str:
    """The description of a key: that of its field, else that of its section or kind."""
    if description := model.model_fields[name].description:
        return description
    shape = shape_of(model, name)
    if shape is None:
        return summary(model) if name == "kind" else ""
    return f"the {shape.noun}" if shape.kinds else summary(shape.models[""])


def _kind(model: type[BaseModel]) -> str:
    field = model.model_fields.get("kind")
    if field is None or typing.get_origin(field.annotation) is not Literal:
        return ""
    return str(typing.get_args(field.annotation)[0])


def validate(model: type[M], tree: Tree, default_place: str = "") -> tuple[M | None, list[Problem]]:
    """The tree as a model, or all its problems."""
    complete = _with_default_kinds(model, clone(tree))

    def problem(path: Sequence[str | int], key: str, message: str) -> Problem:
        return Problem(redact(place_of(complete, path, default_place)), key, message)

    text = json.dumps(complete, default=repr)  # values that no file can have become text
    written = flatten(complete) if holds_secret(text) else ()
    if secrets := [key for key, value in written if holds_secret(json.dumps(value, default=repr))]:
        return None, [problem(key.split("."), key, ADVICE) for key in secrets]
    try:
        # Strict JSON: text is never read as a number, yet lists become tuples and 1 is a float.
        return model.model_validate_json(text, strict=True), []
    except ValidationError as error:
        problems: dict[tuple[str | int, ...], Problem] = {}
        for detail in error.errors(include_url=False):
            if not detail["loc"]:
                return None, [Problem(default_place, "", str(detail["ctx"]["error"]))]
            spot = _spot(model, detail["loc"], complete)
            if spot.path not in problems:
                kind = (
                    ("kind",) if spot.shape is not None and _value(complete, [*spot.path, "kind"]) is not None else ()
                )
                path = (*spot.path, *kind)
                problems[spot.path] = problem((*path, *spot.rest), key_of(path), _message(detail, spot, complete))
        return None, list(problems.values())


def _with_default_kinds(model: type[BaseModel], tree: Tree) -> Tree:
    for name, value in tree.items():
        shape = shape_of(model, name) if name in model.model_fields else None
        if shape is not None and isinstance(value, Tree):
            if shape.default:
                value.setdefault("kind", shape.default)
            if (chosen := shape.chosen(value)) is not None:
                _with_default_kinds(chosen, value)
    return tree


class _Spot(NamedTuple):
    """The place of a pydantic problem: the path of keys, the model, the field if known, and the rest below it."""

    path: tuple[str | int, ...]
    model: type[BaseModel]
    field: FieldInfo | None
    shape: Shape | None
    rest: tuple[int, ...] = ()


def _spot(model: type[BaseModel], location: Iterable[int | str], tree: Tree) -> _Spot:
    parts, path = list(location), list[str | int]()
    while True:
        name = str(parts.pop(0))
        path.append(name)
        field = model.model_fields.get(name)
        shape = shape_of(model, name) if field else None
        item: Any = item_of(model, name) if field else None
        if field is not None and typing.get_origin(field.annotation) is dict:
            item = typing.get_args(field.annotation)[1]
        if item is not None and parts:
            # A single item does not need a list.
            if isinstance(part := parts.pop(0), str) or isinstance(_value(tree, path), list):
                path.append(part)
            field, shape = FieldInfo.from_annotation(item), Shape(name, None, {"": item}) if _is_section(item) else None
        if shape is not None and parts:
            # The kind is part of pydantic's location, but not a key of the tree.
            model = shape.models[str(parts.pop(0))] if len(shape.models) > 1 else next(iter(shape.models.values()))
        if shape is None or not parts:
            return _Spot(tuple(path), model, field, shape, tuple(part for part in parts if isinstance(part, int)))


def _message(detail: Any, spot: _Spot, tree: Tree) -> str:
    value = _value(tree, spot.path)
    if spot.field is None:
        return unknown(str(spot.path[-1]), f"a key of {_name(spot)}", [*spot.model.model_fields])
    if detail["type"] == "missing" and value is None:  # a short list also counts as missing
        return f"is missing; write {spot.shape.example() if spot.shape else describe_field(spot.field)}"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if spot.shape is not None:
        return spot.shape.refusal(value)
    message = f"{show(value)} is not {describe_field(spot.field)}"
    if isinstance(value, str) and "number" in message and len(value) < 20 and _is_number(value):
        message += f"; write it in plain digits without quotes: {float(value):.15g}"
    if isinstance(value, str) and "true or false" in message and (meant := BOOLEANS.get(value.lower())):
        message += f"; write {meant}"
    return message


def _name(spot: _Spot) -> str:
    """The name of the section that does not have an unknown key."""
    above = key_of(spot.path[:-1])
    kind = _kind(spot.model)
    if not above:
        return getattr(spot.model, "title", "this file")
    return f"{above} of kind {kind}" if kind else above


def _value(tree: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        if isinstance(tree, list) and isinstance(part, int):
            tree = tree[part] if part < len(tree) else None
        else:
            tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return math.isfinite(float(text))
    return False
