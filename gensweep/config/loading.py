"""From files and `--set` to configurations: everything that is wrong is reported at once, with file and line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gensweep.config.narrow import assign
from gensweep.config.problems import Problem, show, unknown
from gensweep.config.sweep import SweepConfig, check_sweep
from gensweep.config.tree import Tree, override
from gensweep.config.trial import TrialConfig, check_trial
from gensweep.config.yaml import read_file, read_value
from gensweep.errors import ConfigError

__all__ = ["is_sweep", "load_sweep", "load_trial", "parse_overrides", "scale_names"]


def load_sweep(path: str | Path, *, overrides: Sequence[str] = (), scale: str | None = None) -> SweepConfig:
    """Read a sweep, apply a scale and then the overrides ("key=value").  The result has no scales left to apply.

    Raises ConfigError with all problems, those at the corners of the search space included.
    """
    tree = read_file(path)
    traps = tree.problems
    if "base" not in tree and "family" in tree:
        raise ConfigError(f"{path}: is the configuration of one trial, not of a sweep; use `gensweep train {path}`")
    problems = _apply(tree, path, overrides, scale)
    config, more = check_sweep(tree, str(path))
    _raise(traps, problems + more)
    assert config is not None
    return config.model_copy(update={"scales": {}})


def load_trial(path: str | Path, *, overrides: Sequence[str] = (), scale: str | None = None) -> TrialConfig:
    """Read the configuration of one trial, or the `base` of a sweep, and apply the overrides ("key=value").

    Raises ConfigError with all problems.
    """
    tree = read_file(path)
    traps = tree.problems
    if _is_sweep(tree):
        tree["space"] = Tree()
        problems = _apply(tree, path, overrides, scale)
        base = tree.get("base")
        tree = base if isinstance(base, Tree) else Tree()
        traps = [trap for trap in traps if trap.key.startswith("base.")]
    else:
        problems = [_no_scale(path, scale)] if scale is not None else []
        for key, value, place, problem in _parsed(overrides):
            problems += problem
            if key:
                override(tree, key, value, place)
    config, more = check_trial(tree, default_place=str(path))
    _raise(traps, problems + more)
    assert config is not None
    return config


def is_sweep(path: str | Path) -> bool:
    """Whether a file describes a sweep rather than one trial.  Raises ConfigError if it cannot be read."""
    return _is_sweep(read_file(path))


def scale_names(path: str | Path) -> list[str]:
    """The scales that a file knows.  Raises ConfigError if it cannot be read."""
    scales = read_file(path).get("scales")
    return list(scales) if isinstance(scales, Tree) else []


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """`["a.b=1"]` -> `{"a.b": 1}`; values are read as YAML.  Raises ConfigError with all problems."""
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, value, _, problem in _parsed(texts):
        found[key] = value
        problems += problem
    _raise([], problems)
    return found


def _is_sweep(tree: Tree) -> bool:
    return any(key in tree for key in ("base", "space", "search", "objective"))


def _parsed(texts: Iterable[str]) -> Iterable[tuple[str, Any, str, list[Problem]]]:
    """Key, value, place and problems of each text; no key if it has none."""
    for text in texts:
        key, equals, value = text.partition("=")
        place = f"--set {text}" if text.isprintable() and len(text) <= 120 else f"--set {show(text)}"
        if not equals or not all(part.strip() for part in key.split(".")):
            yield "", None, place, [Problem(place, "", "must be key=value, such as --set training.images=20000")]
            continue
        if not value.strip():
            yield "", None, place, [Problem(place, "", f"has no value; write {key}=null if that is meant")]
            continue
        reading = read_value(value, place)
        problems = [Problem(place, "", problem.message) for problem in reading.problems]
        yield ("" if problems else key.strip()), reading.value, place, problems


def _apply(tree: Tree, path: str | Path, overrides: Sequence[str], scale: str | None) -> list[Problem]:
    """Put the scale and then the overrides into a sweep's tree; returns the problems."""
    problems: list[Problem] = []
    if scale is not None:
        scales = tree.get("scales")
        values = scales.get(scale) if isinstance(scales, Tree) else None
        if isinstance(values, Tree):
            for key, value in values.items():
                problem = assign(tree, key, value, values.places.get(key, str(path)))
                problems += [problem] if problem else []
        elif not isinstance(scales, Tree) or scale not in scales:
            problems.append(_no_scale(path, scale, scales))
    for key, value, place, found in _parsed(overrides):
        problems += found
        problem = assign(tree, key, value, place) if key else None
        problems += [problem] if problem else []
    return problems


def _no_scale(path: str | Path, scale: str, scales: Any = None) -> Problem:
    if not isinstance(scales, Tree) or not scales:
        return Problem(f"--scale {scale}", "", f"{path} has no scales (a sweep lists them under the key scales)")
    return Problem(f"--scale {scale}", "", unknown(scale, f"a scale of {path}", list(scales)))


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
