"""Where the sections of a trial come from: registries and functions of other layers, imported when first asked for.

Importing them imports torch, which `gensweep --help` must not pay for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from gensweep.registry import Registry


def _late(module: str, name: str) -> Callable[[], Any]:
    """A function that imports the module and returns what it holds under a name."""
    return lambda: getattr(importlib.import_module(module), name)


datasets: Callable[[], Registry[Any]] = _late("gensweep.data.images", "DATASETS")
families: Callable[[], Registry[Any]] = _late("gensweep.families.family", "FAMILIES")
metrics: Callable[[], Registry[Any]] = _late("gensweep.metrics.metric", "METRICS")
extractors: Callable[[], Registry[Any]] = _late("gensweep.metrics.extractors", "EXTRACTORS")
#: Metrics that are of one extractor's features only: (that extractor, the metric's name with any other).
reserved_metric_names: Callable[[], Mapping[str, tuple[str, str]]] = _late("gensweep.metrics.metric", "RESERVED_NAMES")
starts: Callable[[], Registry[Any]] = _late("gensweep.training.start", "STARTS")
#: What has the settings of the sections of these names.
training: Callable[[], Callable[..., Any]] = _late("gensweep.training.settings", "TrainingSettings")
evaluation: Callable[[], Callable[..., Any]] = _late("gensweep.training.settings", "EvaluationSettings")
