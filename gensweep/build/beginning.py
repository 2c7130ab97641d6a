"""Where a training begins: the one thing that `build` knows of the section `finetune`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

from torch import Tensor, nn

from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.families.family import Family

__all__ = ["Beginning", "Weights", "beginning_of"]

Weights: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Weights by the name of the network and of the tensor."""


class Beginning(Protocol):
    """What the section `finetune` binds to; `gensweep.finetuning` implements it.

    Without a base, images and family are as the other sections say, and there are no weights and no files.
    """

    def images(self, trial: TrialConfig, images: Images) -> Images:
        """The images with the labels that the trial's model gives them."""

    def weights(self) -> Weights | None:
        """The weights to go on from.  Raises GensweepError if they are not what they were."""

    def family(self, build: Callable[[int], Family], classes: int, weights: Weights | None) -> Family:
        """The family for a number of classes, made by `build`, which takes one; with the weights if they are given."""

    def writer(self, trial: TrialConfig, images: Images) -> Callable[[nn.Module, Path], None] | None:
        """What puts more files into a checkpoint, from the network that draws samples and the folder."""


def beginning_of(trial: TrialConfig) -> Beginning:
    """The beginning of a trial's training."""
    beginning: Beginning = trial.bound("finetune")()
    return beginning
