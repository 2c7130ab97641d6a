"""Where the sections of a trial come from: the registries of the layers below, imported when first asked for.

Importing them imports torch, which `gensweep --help` must not pay for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from gensweep.registry import Registry

__all__ = ["datasets", "evaluation", "families", "finetune", "metrics", "reserved_metric_names", "training"]


def datasets() -> Registry[Any]:
    """Data sets, the kinds of the section `data`."""
    from gensweep.data.images import DATASETS

    return DATASETS


def families() -> Registry[Any]:
    """Families, the kinds of the section `family`."""
    from gensweep.families.family import FAMILIES

    return FAMILIES


def metrics() -> Registry[Any]:
    """Metrics, the names that `evaluation.metrics` may hold."""
    from gensweep.metrics.metric import METRICS

    return METRICS


def reserved_metric_names() -> Mapping[str, tuple[str, str]]:
    """Metrics that are of one extractor's features only: (that extractor, the metric's name with any other)."""
    from gensweep.metrics.metric import RESERVED_NAMES

    return RESERVED_NAMES


def training() -> Callable[..., Any]:
    """The function whose settings are the section `training`."""
    from gensweep.training.settings import training

    return training


def finetune() -> Callable[..., Any]:
    """The function whose settings are the section `finetune`, found by name: fine-tuning lies above this layer."""
    function: Callable[..., Any] = importlib.import_module("gensweep.finetuning.section").finetune
    return function


def evaluation() -> Callable[..., Any]:
    """The function whose settings are the section `evaluation`."""
    from gensweep.training.settings import evaluation

    return evaluation
