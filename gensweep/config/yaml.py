"""Read YAML strictly, with the line of every key, and write YAML that reads back the same.

PyYAML parses.  Plain values follow YAML 1.2: `1e-4` and `2e12` are numbers, `no` and dates are text.  A number is also
text if it is not finite, does not fit in 64 bits, or is not written in plain decimal digits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gensweep.config.problems import Problem, show
from gensweep.config.tree import Row, Tree
from gensweep.errors import ConfigError

MAX_NODES = 20_000
MAX_DEPTH = 20

CONSTANTS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")


def read_file(path: str | Path) -> tuple[Tree, list[Problem]]:
    """The mapping in a YAML file, and the problems of its values.  Raises ConfigError for other files."""
    value, problems = _read(_text(Path(path)), lambda line: f"{path}:{line}")
    if isinstance(value, Tree):
        return value, problems
    if value is None:
        raise ConfigError(f"{path}: the file is empty; see search_spaces/ for examples")
    sort = "a list" if isinstance(value, list) else f"the single value {show(value)}"
    raise ConfigError(f"{path}:1: the file is {sort}; it must have keys and values, like `seed: 0`")


def read_value(text: str, place: str) -> tuple[Any, list[Problem]]:
    """The value after the = of `--set key=value`, and its problems."""
    try:
        return _read(text, lambda line: place)
    except ConfigError as error:
        return None, [Problem(place, "", problem.removeprefix(f"{place}: ")) for problem in error.problems]


def to_yaml(value: Any, *, one_line: bool = False) -> str:
    """Plain nested values as YAML text, which `read_file` reads back."""
    style: dict[str, Any] = {"default_flow_style": True, "width": math.inf} if one_line else {"width": 100}
    text = str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, **style))
    return text.strip() if one_line else text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; a configuration is a text file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from None


def _read(text: str, place: Callable[[int], str]) -> tuple[Any, list[Problem]]:
    try:
        document = yaml.compose(text, Loader=_Loader)
        converter = _Converter(place)
        return (None if document is None else converter.value(document, "", 0)), converter.problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{place(mark.line + 1 if mark else 1)}: {_syntax(error)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{place(line)}: the character {error.character!r} is not allowed in YAML") from None
    except RecursionError:
        raise ConfigError(f"{place(1)}: is nested more than {MAX_DEPTH} deep") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{place(1)}: is not readable as YAML: {' '.join(str(error).split())}") from None


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if r"'\t'" in problem:
        return "a tab; YAML is indented with spaces only"
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one line; quote text with a colon, and check the indentation"
    if "another document" in problem:
        return "a second document (---); a file has one configuration"
    if problem.startswith("found undefined alias"):
        return f"*{problem.split(chr(39))[1]} has no anchor &{problem.split(chr(39))[1]} before it"
    context = f"{error.context}, " if error.context else ""
    return f"is not readable as YAML: {context}{problem}"


class _Loader(yaml.BaseLoader):
    """Ignores the implicit tags of nodes."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        return ""


class _Converter:
    """Turns PyYAML's nodes into values and counts them, to limit the growth by aliases."""

    def __init__(self, place: Callable[[int], str]) -> None:
        self.place = place
        self.problems: list[Problem] = []
        self.nodes = 0

    def value(self, node: yaml.Node, key: str, depth: int) -> Any:
        self.nodes += 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"{self._at(node)}: is nested more than {MAX_DEPTH} deep")
        if self.nodes > MAX_NODES:
            raise ConfigError(f"{self._at(node)}: the file grows beyond {MAX_NODES} values; check its aliases (*name)")
        if node.tag:
            self._problem(node, key, f"the tag {show(node.tag)} is not supported; write the plain value")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, key)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        items = [self.value(item, f"{key}[{position}]", depth + 1) for position, item in enumerate(node.value)]
        return Row(items, [self._at(item) for item in node.value])

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> Tree:
        tree = Tree()
        for name_node, value_node in node.value:
            name = name_node.value
            if not isinstance(name_node, yaml.ScalarNode):
                raise ConfigError(f"{self._at(name_node)}: a key must be plain text, not a list or a mapping")
            if name == "<<" and name_node.style is None:
                self._problem(name_node, key, "merge keys (<<) are not supported; write out the settings")
            else:
                path = f"{key}.{name}" if key else name
                if name in tree:
                    self._problem(name_node, path, f"is set twice; first at {tree.places[name]}")
                tree[name], tree.places[name] = self.value(value_node, path, depth + 1), self._at(name_node)
        return tree

    def _scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        text: str = node.value
        if node.style is not None:
            return text
        if text in CONSTANTS:
            return CONSTANTS[text]
        if INTEGER.fullmatch(text) and len(text) <= 20 and -(2**63) <= int(text) < 2**63:
            return int(text)
        if NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
            # 2e4 is a whole number for a setting that counts; 2.0 is not one.
            return int(number) if "." not in text and number.is_integer() and abs(number) < 2**63 else number
        return text

    def _at(self, node: yaml.Node) -> str:
        return self.place(node.start_mark.line + 1)

    def _problem(self, node: yaml.Node, key: str, message: str) -> None:
        self.problems.append(Problem(self._at(node), key, message))


class _Dumper(yaml.SafeDumper):
    """Keeps the order of keys, writes short lists on one line, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = bool(text) and text.strip() == text and read_value(text, "") == (text, [])
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    short = not any(isinstance(item, dict | list) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=short)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)
