"""Registries and functions that define the sections of a trial, imported when first used.

Importing them imports torch, which would slow down `gensweep --help`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from gensweep.registry import Registry


def _late(module: str, name: str) -> Callable[[], Any]:
    """A function that imports the module and returns its attribute of that name."""
    return lambda: getattr(importlib.import_module(module), name)


datasets: Callable[[], Registry[Any]] = _late("gensweep.data.images", "DATASETS")
families: Callable[[], Registry[Any]] = _late("gensweep.families.family", "FAMILIES")
metrics: Callable[[], Registry[Any]] = _late("gensweep.metrics.metric", "METRICS")
#: Metrics of one extractor's features: (that extractor, the metric's name with any other one).
reserved_metric_names: Callable[[], Mapping[str, tuple[str, str]]] = _late("gensweep.metrics.metric", "RESERVED_NAMES")
starts: Callable[[], Registry[Any]] = _late("gensweep.training.start", "STARTS")
#: Function or class with the settings of each section.
training: Callable[[], Callable[..., Any]] = _late("gensweep.training.settings", "TrainingSettings")
evaluation: Callable[[], Callable[..., Any]] = _late("gensweep.training.settings", "EvaluationSettings")
