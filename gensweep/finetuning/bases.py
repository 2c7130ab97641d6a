"""Trained models that a fine-tuning goes on from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gensweep.build.parts import Weights, build_family
from gensweep.config import TrialConfig
from gensweep.errors import GensweepError
from gensweep.finetuning.adapters import weights_hash
from gensweep.nn.lora import low_rank_updates
from gensweep.nn.new_labels import merge_all
from gensweep.training.checkpoint import load_tensors, read
from gensweep.training.learner_state import load_network

__all__ = ["Base", "read_base"]


@dataclass(frozen=True)
class Base:
    """A trained model to go on from: the settings it was trained with, its images, and its weights by network.

    `sha256` is the hash of those weights that draw samples, which were averaged if the training kept an average.
    """

    folder: Path
    trial: TrialConfig
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    weights: Weights
    sha256: str

    def section(self) -> dict[str, Any]:
        """What the section `finetune` of a trial says of it."""
        return {"base": str(self.folder), "sha256": self.sha256, "classes": list(self.class_names)}


def read_base(folder: Path) -> Base:
    """The model in a checkpoint, all that it has learnt merged into plain weights.

    Raises GensweepError if it is damaged, or cannot be merged.
    """
    checkpoint = read(folder)
    trial, tensors = TrialConfig.from_dict(checkpoint.metadata), load_tensors(folder)
    family = build_family(trial, checkpoint.shape, len(checkpoint.class_names))
    for name, network in family.networks.items():
        load_network(network, tensors, checkpoint.weights if name == family.sampled else f"networks/{name}/")
        merge_all(network)
        if low_rank_updates(network):
            raise GensweepError(
                f"{folder}: updates below a spectral norm cannot be merged; go on from the base instead"
            )
    weights = {name: network.state_dict() for name, network in family.networks.items()}
    sha256 = weights_hash(weights[family.sampled])
    return Base(folder, trial, checkpoint.shape, checkpoint.class_names, weights, sha256)
