"""From files and `--set` to configurations: read, override, validate, check; all that is wrong is reported at once.

What a file would hold may also come as a nested mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from gensweep.config.overrides import no_scale, override_sweep, parsed
from gensweep.config.problems import Problem
from gensweep.config.sweep_checks import check_sweep
from gensweep.config.sweep_config import SweepConfig
from gensweep.config.tree import Tree, clone, override
from gensweep.config.trial_config import TrialConfig, check_trial, load_plugins
from gensweep.config.yaml import read_file
from gensweep.errors import ConfigError

Source: TypeAlias = str | Path | Mapping[str, Any]
"""A YAML file, or what it would hold."""
Overrides: TypeAlias = Sequence[str] | Mapping[str, Any]
"""Texts such as "training.images=20000", or values by dotted key."""


def load_sweep(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep, apply a scale and then the overrides ("key=value").  The result has no scales left to apply.

    Raises ConfigError with all problems, those at the corners of the search space included.
    """
    tree, traps, place = _read(source)
    if "base" not in tree and "family" in tree:
        raise ConfigError(f"{place}: is the configuration of one trial, not of a sweep; use `gensweep train {place}`")
    given, problems = parsed(overrides)
    problems += override_sweep(tree, place, given, scale)
    config, more = check_sweep(tree, place)
    _raise(traps, problems + more)
    assert config is not None
    return config.model_copy(update={"scales": {}})


def load_trial(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> TrialConfig:
    """Read the configuration of one trial, or the `base` of a sweep, and apply the overrides ("key=value").

    Raises ConfigError with all problems.
    """
    tree, traps, place = _read(source)
    if _is_sweep(tree):
        return load_base(source, overrides=overrides, scale=scale).trial()
    given, problems = parsed(overrides)
    problems += [no_scale(place, scale)] if scale is not None else []
    for each in given:
        override(tree, *each)
    config, more = check_trial(tree, default_place=place)
    _raise(traps, problems + more)
    assert config is not None
    return config


def load_base(source: Source, *, overrides: Overrides = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep without its space and search, of which one trial is left.  Raises ConfigError with all problems."""
    tree, traps, place = _read(source)
    given, problems = parsed(overrides)
    tree["space"] = Tree()
    scales = tree.get("scales")
    if isinstance(scales, Tree) and isinstance(scaled := scales.get(scale or ""), Tree):
        for key in [key for key in scaled if _is_searched(key)]:
            del scaled[key]
    problems += override_sweep(tree, place, [each for each in given if not _is_searched(each.key)], scale)
    tree.pop("search", None)
    config, more = check_sweep(tree, place)
    _raise([trap for trap in traps if not _is_searched(trap.key)], problems + more)
    assert config is not None
    return config


def is_sweep(source: Source) -> bool:
    """Whether a file describes a sweep rather than one trial.  Raises ConfigError if it cannot be read."""
    return _is_sweep(source if isinstance(source, Mapping) else read_file(source)[0])


def scale_names(path: str | Path) -> list[str]:
    """The scales that a file knows.  Raises ConfigError if it cannot be read."""
    scales = read_file(path)[0].get("scales")
    return list(scales) if isinstance(scales, Tree) else []


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1"]` -> `{"a.b": 1}`; values are read as YAML.  Raises ConfigError with all problems."""
    overrides, problems = parsed(texts)
    _raise([], problems)
    return {key: value for key, value, _ in overrides}


def _read(source: Source) -> tuple[Tree, list[Problem], str]:
    """A tree whose plug-ins are imported, the problems of single values in it, and what to call its place."""
    if isinstance(source, Mapping):
        tree, traps, place = clone(source), list[Problem](), "the mapping"
    elif isinstance(source, str | PathLike):
        (tree, traps), place = read_file(source), str(source)
    else:
        raise ConfigError(f"{source!r} is no configuration; give the path of a YAML file, or what it would hold")
    base = tree.get("base")
    _raise([], load_plugins(tree, place) + (load_plugins(base, place) if isinstance(base, Tree) else []))
    return tree, traps, place


def _is_searched(key: str) -> bool:
    """Whether a dotted key is of what a sweep has beside its base."""
    return key.partition(".")[0] in ("space", "search")


def _is_sweep(tree: Mapping[str, Any]) -> bool:
    return any(key in tree for key in ("base", "space", "search", "objective"))


def _raise(traps: list[Problem], problems: list[Problem]) -> None:
    """Raise all problems, in order of the file; what follows from a value that YAML misread is left out."""
    trapped = [(trap.place, _bare(trap.key)) for trap in traps]
    own = [
        problem
        for problem in problems
        if not any(place == problem.place and _last(problem.key) in key for place, key in trapped)
    ]
    every = [Problem(trap.place, _bare(trap.key), trap.message) for trap in traps] + own
    if every:
        raise ConfigError(list(dict.fromkeys(str(problem) for problem in sorted(every, key=_order))))


def _bare(key: str) -> str:
    return key.removeprefix("base.")


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _order(problem: Problem) -> tuple[bool, int]:
    line = problem.place.rpartition(":")[2]
    return (problem.place.startswith("--"), int(line) if line.isdecimal() else 0)
