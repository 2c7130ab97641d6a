"""Problems of a configuration: one line each, with the place, the key, the value and the allowed values."""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union

import annotated_types
from pydantic.fields import FieldInfo

from gensweep.errors import ConfigError
from gensweep.registry import Takes

C = TypeVar("C")

#: Longer values are cut in messages.
MAX_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Problem:
    """One line of a ConfigError: `place: key: message`, for example `ddpm.yaml:14: seed: 'a' is not a whole number`."""

    place: str
    key: str
    message: str

    def __str__(self) -> str:
        # `--set seed=a: seed: ...` would repeat the key.
        key = "" if self.place.startswith(f"--set {self.key}=") else show(self.key)[1:-1]
        return ": ".join(part for part in (self.place, key, self.message) if part)


def valid(config: C | None, problems: Sequence[Problem]) -> C:
    """The configuration.  Raises ConfigError with all problems if there are any."""
    if config is None or problems:
        raise ConfigError([str(problem) for problem in problems])
    return config


def show(value: Any) -> str:
    """A value as the user wrote it, on one line, shortened."""
    if isinstance(value, str):
        # Long text is cut before escaping, so that the cut never splits an escape.
        text = repr(value if len(value) <= MAX_SHOWN_CHARACTERS else value[: MAX_SHOWN_CHARACTERS - 3] + "...")
        return text.encode("utf-8", "backslashreplace").decode()
    text = json.dumps(value, default=repr)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[: MAX_SHOWN_CHARACTERS - 3] + "..."


def listed(names: Iterable[str], most: int | None = None) -> str:
    """Names for a message, at most `most`."""
    every = list(names)
    shown = every if most is None or len(every) <= most else [*every[:most], "..."]
    return ", ".join(shown) or "none"


def unknown(name: str, what: str, known: Sequence[str]) -> str:
    """The message for an unknown name, with the nearest known one as a suggestion."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    close = close or [each for each in known if name and each.startswith(name)]
    suggestion = f"; did you mean {close[0]!r}?" if close else ""
    return f"{show(name)} is not {what}{suggestion} (known: {listed(known)})"


TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
#: Text for a bound, by its attribute in `annotated_types` and pydantic.
COMPARISONS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}"}
OTHER_BOUNDS = {
    "multiple_of": ", a multiple of {}",
    "min_length": ", at least {} long",
    "max_length": ", at most {} long",
    "pattern": ", made of {}",
}


def describe_field(field: FieldInfo) -> str:
    """The values that a field accepts, such as "a whole number >= 1"."""
    return describe(field.annotation, field.metadata)


def describe(hint: Any, constraints: Iterable[Any] = ()) -> str:
    """The values that a type accepts."""
    constraints = [single for mark in constraints for single in _flat(mark)]
    while typing.get_origin(hint) is Annotated:
        hint, *more = typing.get_args(hint)
        constraints += [single for mark in more for single in _flat(mark)]
    if words := next((each.words for each in constraints if isinstance(each, Takes)), None):
        return words
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    bounds = _bounds(constraints)
    if origin in (Union, types.UnionType):
        options = [describe(each, constraints if each is not type(None) else ()) for each in arguments]
        return " or ".join(dict.fromkeys(options))
    if origin is Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(show(each) for each in arguments)
    if origin in (tuple, list):
        each = [describe(argument) for argument in arguments if argument is not Ellipsis]
        items = f"each {each[0]}" if len(set(each)) == 1 else f"of {', then '.join(each)}"
        count = f" of {len(each)} items" if origin is tuple and Ellipsis not in arguments else ""
        return f"a list{count}{bounds}, {items}"
    if origin is dict:
        return "a mapping of keys"
    return TYPE_NAMES.get(hint, getattr(hint, "__name__", str(hint))) + bounds


def _flat(mark: Any) -> Iterable[Any]:
    """The single constraints in a mark."""
    if isinstance(mark, FieldInfo):
        return mark.metadata
    return mark if isinstance(mark, annotated_types.GroupedMetadata) else [mark]


def _bounds(constraints: Iterable[Any]) -> str:
    def worded(words: dict[str, str]) -> list[str]:
        found = [(name, getattr(each, name, None)) for each in constraints for name in words]
        return [words[name].format(bound) for name, bound in found if bound is not None]

    compared = " and ".join(worded(COMPARISONS))
    return (f" {compared}" if compared else "") + "".join(worded(OTHER_BOUNDS))
