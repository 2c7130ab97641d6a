"""Where training starts: random weights, or a trained model.  `trial` is a trial as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from gensweep.data.images import Images
from gensweep.families.family import Family
from gensweep.registry import Registry

Weights: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Weights by network and tensor name."""

#: Subclasses of `Start` with keyword-only settings.  One based on a trained model names it in `base`.
STARTS: Registry[type[Start]] = Registry("start", package=__name__)


@STARTS.register("scratch")
@dataclass(frozen=True, kw_only=True)
class Start:
    """Random weights, and the classes of the data set."""

    @classmethod
    def prepare(cls, sweep: Any) -> Any:
        """The sweep with inherited settings.  Raises ConfigError if they do not fit."""
        return sweep

    def images(self, trial: Mapping[str, Any], images: Images) -> Images:
        """Images with the labels of the trial's model."""
        return images

    def weights(self) -> Weights | None:
        """Initial weights.  Raises GensweepError if they changed since the run began."""
        return None

    def family(self, build: Callable[[int], Family], classes: int, weights: Weights | None) -> Family:
        """The family from `build` for a number of classes, with these weights."""
        return build(classes)

    def writer(self, trial: Mapping[str, Any], images: Images) -> Callable[[nn.Module, Path], None] | None:
        """A function that writes further files next to the weights of the trained model."""
        return None
