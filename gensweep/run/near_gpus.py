"""Where work on a trained model runs: in this process, or where an installed package takes it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gensweep import plugins

T = TypeVar("T")

#: Functions of installed packages that run work on the cluster at RAY_ADDRESS; the first is used.
CLUSTER_RUNNERS: list[Callable[[Callable[..., Any], tuple[Any, ...]], Any]] = []


@dataclass(frozen=True)
class SentPath:
    """An argument: a file or folder that the work reads; it gets the path, or that of a copy."""

    path: Path


@dataclass(frozen=True)
class ReturnedPath:
    """An argument: a file or folder that the work may write; it gets the path, or one whose content comes back."""

    path: Path


def has_cluster() -> bool:
    """True if RAY_ADDRESS names a cluster."""
    return bool(os.environ.get("RAY_ADDRESS"))


def run_near_gpus(work: Callable[..., T], *arguments: Any) -> T:
    """Run a function of a module with these arguments, on the cluster if there is one.

    Raises ConfigError if no node can run it, and the errors of the function.
    """
    plugins.load_installed()
    if has_cluster() and CLUSTER_RUNNERS:
        result: T = CLUSTER_RUNNERS[0](work, arguments)
        return result
    return work(*replaced(arguments, lambda each: each.path))


def replaced(value: Any, replace: Callable[[Any], Any], kinds: tuple[type, ...] = (SentPath, ReturnedPath)) -> Any:
    """The value with other paths, also within tuples and lists."""
    if isinstance(value, kinds):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)(replaced(each, replace, kinds) for each in value)
    return value
