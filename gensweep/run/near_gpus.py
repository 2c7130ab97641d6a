"""Run work on a trained model in this process, or on the cluster if an installed package provides that."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gensweep import plugins

T = TypeVar("T")

#: Functions of installed packages that run work on the cluster at RAY_ADDRESS; the first one is used.
CLUSTER_RUNNERS: list[Callable[[Callable[..., Any], tuple[Any, ...]], Any]] = []


@dataclass(frozen=True)
class SentPath:
    """An argument: a file or folder to read; the work gets its path or that of a copy."""

    path: Path


@dataclass(frozen=True)
class ReturnedPath:
    """An argument: a file or folder to write; on a cluster its content is copied back."""

    path: Path


def has_cluster() -> bool:
    """True if RAY_ADDRESS names a cluster."""
    return bool(os.environ.get("RAY_ADDRESS"))


def run_near_gpus(work: Callable[..., T], *arguments: Any) -> T:
    """Run a function on the cluster, if there is one.  Raises ConfigError if no node can run it, and its own errors."""
    plugins.load_installed()
    if has_cluster() and CLUSTER_RUNNERS:
        result: T = CLUSTER_RUNNERS[0](work, arguments)
        return result
    return work(*replaced(arguments, lambda each: each.path))


def replaced(value: Any, replace: Callable[[Any], Any], kinds: tuple[type, ...] = (SentPath, ReturnedPath)) -> Any:
    """The value with replaced paths, also within tuples and lists."""
    if isinstance(value, kinds):
        return replace(value)
    if isinstance(value, tuple | list):
        return type(value)(replaced(each, replace, kinds) for each in value)
    return value
