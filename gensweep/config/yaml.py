"""YAML read strictly: every key knows its line, and what YAML reads by surprise is an error with the right spelling.

PyYAML parses, but values are read here.  Its reader takes `1e-4` for text, `010` for 8, `1:30` for 90 and `no` for
false, and lets the last of two equal keys win; each of these is a problem that says what to write instead.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gensweep.config.problems import Problem, show
from gensweep.config.tree import Row, Tree
from gensweep.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 20

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")
CONSTANT_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
CONSTANT_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)


@dataclass
class Reading:
    """What was read, with every problem found on the way; a value with a problem stands as it was probably meant."""

    value: Any = None
    problems: list[Problem] = field(default_factory=list)


def read_file(path: str | Path) -> tuple[Tree, list[Problem]]:
    """The mapping in a YAML file, and the problems of single values in it.

    Raises ConfigError for what is not one YAML document with a mapping at the top.
    """
    text = _text(Path(path))
    reading = _read(text, lambda line: f"{path}:{line}")
    if isinstance(reading.value, Tree):
        return reading.value, reading.problems
    if reading.problems:
        raise ConfigError([str(problem) for problem in reading.problems])
    if reading.value is None:
        raise ConfigError(f"{path}: the file is empty; see search_spaces/ for examples")
    sort = "a list" if isinstance(reading.value, list) else f"the single value {show(reading.value)}"
    raise ConfigError(f"{path}:1: the file holds {sort}; it must hold keys and values, like `seed: 0`")


def read_value(text: str, place: str) -> Reading:
    """One value as it stands behind the = of `--set key=value`."""
    try:
        return _read(text, lambda line: place)
    except ConfigError as error:
        return Reading(problems=[Problem(place, "", problem.removeprefix(f"{place}: ")) for problem in error.problems])


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES // 1000} kB; is this a configuration?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text; a configuration is a text file") from None
    if "\0" in text:
        raise ConfigError(f"{path}: is a binary file; a configuration is a text file")
    return text


def _read(text: str, place: Callable[[int], str]) -> Reading:
    try:
        return _Reader(yaml.parse(text, Loader=yaml.SafeLoader), place).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{place(mark.line + 1 if mark else 1)}: {_syntax(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{place(line)}: the character {error.character!r} is not allowed in YAML") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{place(1)}: is not readable as YAML: {' '.join(str(error).split())}") from None


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if r"'\t'" in problem:
        return "a tab; YAML is indented with spaces only"
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line; put text that holds a colon in quotes, and check the indentation"
    context = f"{error.context}, " if error.context else ""
    return f"is not readable as YAML: {context}{problem}"


class _Reader:
    """Turns PyYAML's events into values; it keeps count, so that aliases cannot multiply without end."""

    def __init__(self, events: Iterator[yaml.Event], place: Callable[[int], str]) -> None:
        self.events = events
        self.place = place
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}  # name -> value, nodes, depth
        self.nodes = 0

    def document(self) -> Reading:
        value = None
        first = True
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if not first:
                    raise ConfigError(f"{self._at(event)}: a second document (---); a file holds one configuration")
                first = False
                value, _ = self.node(next(self.events), "", 0)
        return Reading(value, self.problems)

    def node(self, event: yaml.Event, key: str, depth: int) -> tuple[Any, int]:
        """The value that begins with the event, and how deep it goes."""
        if depth > MAX_DEPTH:
            raise ConfigError(f"{self._at(event)}: is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, key, depth)
        before = self.nodes
        self._count(1, event)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._problem(event, key, f"the tag {show(tag)} is not supported; write the plain value")
        value: Any
        below = 0
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, key)
        elif isinstance(event, yaml.SequenceStartEvent):
            value, below = self._sequence(key, depth)
        else:
            value, below = self._mapping(key, depth)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = (value, self.nodes - before, below)
        return value, below

    def _sequence(self, key: str, depth: int) -> tuple[Row, int]:
        row = Row()
        below = 0
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            value, deep = self.node(event, f"{key}[{len(row)}]", depth + 1)
            row.append(value)
            row.places.append(self._at(event))
            below = max(below, deep + 1)
        return row, below

    def _mapping(self, key: str, depth: int) -> tuple[Tree, int]:
        tree = Tree()
        below = 0
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise ConfigError(f"{self._at(event)}: a key must be plain text, not a list, a mapping or an alias")
            name = event.value
            self._count(1, event)
            path = f"{key}.{name}" if key else name
            if name == "<<" and event.style is None:
                self._problem(event, key, "merge keys (<<) are not supported; write the settings out")
            elif not self._readable(name):
                self._problem(event, key, f"the key {show(name)} holds characters that cannot be printed")
            elif name in tree:
                self._problem(event, path, f"is given twice; the first is at {tree.places[name]}")
            value, deep = self.node(next(self.events), path, depth + 1)
            if self._readable(name) and name != "<<":
                tree[name] = value
                tree.places[name] = self._at(event)
            below = max(below, deep + 1)
        return tree, below

    def _alias(self, event: yaml.AliasEvent, key: str, depth: int) -> tuple[Any, int]:
        if event.anchor not in self.anchors:
            self._problem(event, key, f"*{event.anchor} has no finished anchor &{event.anchor} before it")
            return None, 0
        value, nodes, below = self.anchors[event.anchor]
        self._count(nodes, event)
        if depth + below > MAX_DEPTH:
            raise ConfigError(f"{self._at(event)}: *{event.anchor} nests more than {MAX_DEPTH} deep")
        return copy.deepcopy(value), below

    def _scalar(self, event: yaml.ScalarEvent, key: str) -> Any:
        text: str = event.value
        if not self._readable(text):
            self._problem(event, key, f"{show(text)} holds characters that cannot be printed")
            return ""
        if event.style is not None:
            return text
        if text in CONSTANT_WORDS:
            return CONSTANT_WORDS[text]
        if INTEGER.fullmatch(text) and len(text) <= 20 and -(2**63) <= int(text) < 2**63:
            return int(text)
        if NUMBER.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        for pattern, advice, meant in AMBIGUOUS_WORDS:
            if pattern.fullmatch(text):
                self._problem(event, key, f"{show(text).strip(chr(39))} {advice(text)}")
                return meant(text)
        return text

    @staticmethod
    def _readable(text: str) -> bool:
        return not any(0xD800 <= ord(c) < 0xE000 or (ord(c) < 32 and c not in "\t\n") or c == "\x7f" for c in text)

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise ConfigError(
                f"{self._at(event)}: the file grows beyond {MAX_NODES} values; aliases (*name) gone wild?"
            )

    def _at(self, event: yaml.Event) -> str:
        return self.place(event.start_mark.line + 1 if event.start_mark else 1)

    def _problem(self, event: yaml.Event, key: str, message: str) -> None:
        self.problems.append(Problem(self._at(event), key, message))


def _scientific(text: str) -> str:
    """The spelling that every YAML reader takes for a number: `1e4` -> `1.0e+4`."""
    mantissa, _, exponent = text.replace("_", "").lower().partition("e")
    mantissa += "" if "." in mantissa else ".0"
    spelling = f"{mantissa}e{exponent if exponent[0] in '+-' else '+' + exponent}"
    value = float(spelling)
    return f"{int(value)} or {spelling}" if value.is_integer() and abs(value) < 1e15 else spelling


def _float(text: str) -> float:
    value = float(text.replace("_", ""))
    return value if math.isfinite(value) else 0.0


def _text_of(text: str) -> str:
    return text


Advice = Callable[[str], str]
# What a plain word is taken for elsewhere, what to write, and what was probably meant.
AMBIGUOUS_WORDS: tuple[tuple[re.Pattern[str], Advice, Callable[[str], Any]], ...] = (
    (
        re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]{1,3}"),
        lambda text: (
            f"is text to YAML, not a number; write {_scientific(text)}"
            if math.isfinite(float(text.replace("_", "")))
            else "is too large a number"
        ),
        _float,
    ),
    (
        re.compile(r"[-+]?0[0-9]{1,17}"),
        lambda text: f"is octal to some YAML readers and {int(text)} to others; write {int(text)}",
        int,
    ),
    (
        re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?"),
        lambda text: "is a number of base 60 to YAML; write the plain number, or quote it if it is text",
        _text_of,
    ),
    (
        re.compile(r"(?i)yes|no|on|off"),
        lambda text: (
            f"is {'true' if text.lower() in ('yes', 'on') else 'false'} to some YAML readers and text to others;"
            f" write {'true' if text.lower() in ('yes', 'on') else 'false'}, or '{text}' in quotes if it is text"
        ),
        lambda text: text.lower() in ("yes", "on"),
    ),
    (
        re.compile(r"[-+]?0[xob][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?"),
        lambda text: "is a number to some YAML readers and text to others; write it in plain decimal digits",
        _text_of,
    ),
    (
        re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        lambda text: "is not a finite number",
        _text_of,
    ),
    (INTEGER, lambda text: "does not fit in 64 bits", _text_of),
    (NUMBER, lambda text: "is not a finite number", _text_of),
    (
        re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?"),
        lambda text: "is a date to YAML; quote it if it is text",
        _text_of,
    ),
)
