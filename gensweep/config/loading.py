"""From files and `--set` to configurations: read, override, validate, check; all that is wrong is reported at once.

What a file would hold may also come as a nested mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from gensweep.config.overrides import no_scale, override_sweep, parsed
from gensweep.config.problems import Problem
from gensweep.config.sweep_checks import check_sweep
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.tree import Tree, clone, override
from gensweep.config.trial_config import TrialConfig, check_trial, load_plugins
from gensweep.config.yaml import read_file
from gensweep.errors import ConfigError

C = TypeVar("C")
Source: TypeAlias = str | Path | Mapping[str, Any]
"""A YAML file, or what it would hold."""
Overrides: TypeAlias = Sequence[str] | Mapping[str, Any]
"""Texts such as "training.images=20000", or values by dotted key."""


def load_sweep(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep, apply a scale and then the overrides ("key=value").  The result has no scales left to apply.

    Raises ConfigError with all problems, those at the corners of the search space included.
    """
    tree, misread, place = _read(source)
    if "base" not in tree and "family" in tree:
        raise ConfigError(f"{place}: is the configuration of one trial, not of a sweep; use `gensweep train {place}`")
    given, problems = parsed(overrides)
    problems += override_sweep(tree, place, given, scale)
    return _checked(tree, place, misread, problems).model_copy(update={"scales": {}})


def load_trial(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> TrialConfig:
    """Read the configuration of one trial, or the `base` of a sweep, and apply the overrides ("key=value").

    Raises ConfigError with all problems.
    """
    tree, misread, place = _read(source)
    if is_sweep(tree):
        return load_base(source, overrides=overrides, scale=scale).trial()
    given, problems = parsed(overrides)
    problems += [no_scale(place, scale)] if scale is not None else []
    for each in given:
        override(tree, *each)
    config, more = check_trial(tree, default_place=place)
    return _valid(config, misread, problems + more)


def load_base(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep without its space and search, of which one trial is left.  Raises ConfigError with all problems."""
    tree, misread, place = _read(source)
    given, problems = parsed(overrides)
    searched = ("space", "search")
    tree = Tree({key: value for key, value in tree.items() if key not in searched}, tree.places)
    problems += override_sweep(tree, place, given, scale)
    for key in searched:  # a scale may have set keys of them
        tree.pop(key, None)
    return _checked(tree, place, [each for each in misread if each.key.partition(".")[0] not in searched], problems)


def is_sweep(source: Source) -> bool:
    """Whether a file describes a sweep rather than one trial.  Raises ConfigError if it cannot be read."""
    tree = source if isinstance(source, Mapping) else read_file(source)[0]
    return any(key in tree for key in ("base", "space", "search"))


def scale_names(path: str | Path) -> list[str]:
    """The scales that a file knows.  Raises ConfigError if it cannot be read."""
    scales = read_file(path)[0].get("scales")
    return list(scales) if isinstance(scales, Tree) else []


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1"]` -> `{"a.b": 1}`; values are read as YAML.  Raises ConfigError with all problems."""
    overrides, problems = parsed(texts)
    return _valid({key: value for key, value, _ in overrides}, [], problems)


def _read(source: Source) -> tuple[Tree, list[Problem], str]:
    """A tree whose plug-ins are imported, the problems of its YAML, and its name."""
    if isinstance(source, Mapping):
        tree, misread, place = clone(source), list[Problem](), "the mapping"
    elif isinstance(source, str | PathLike):
        (tree, misread), place = read_file(source), str(source)
    else:
        raise ConfigError(f"{source!r} is no configuration; give the path of a YAML file, or what it would hold")
    base = tree.get("base")
    _valid(None, [], load_plugins(tree, place) + (load_plugins(base, place) if isinstance(base, Tree) else []))
    return tree, misread, place


def _checked(tree: Tree, place: str, misread: list[Problem], problems: list[Problem]) -> SweepConfig:
    config, more = check_sweep(tree, place)
    return _valid(config, misread, problems + more)


def _valid(config: C | None, misread: list[Problem], problems: list[Problem]) -> C:
    """The configuration.  Raises all problems, in order of the file, without consequences of misread values."""
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
