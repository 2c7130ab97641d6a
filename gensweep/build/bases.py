"""Families that go on from a trained model: its weights, and its labels beside new ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.errors import ConfigError, GensweepError
from gensweep.families.family import Family
from gensweep.nn.labels import NewRows
from gensweep.nn.lora import LowRank, low_rank_updates, merge
from gensweep.training.adapters import ADAPTER, adapter_of, weights_hash, write_adapter
from gensweep.training.checkpoint import load_tensors, read
from gensweep.training.finetuning import Finetuning
from gensweep.training.state import load_network

__all__ = ["Base", "adapter_writer", "build_family", "in_labels_of_base", "merge_all", "read_base"]


@dataclass(frozen=True)
class Base:
    """A trained model to go on from: the settings it was trained with, its images, and its weights by network.

    `sha256` is the hash of those weights that draw samples, which were averaged if the training kept an average.
    """

    trial: TrialConfig
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    weights: Mapping[str, Mapping[str, Tensor]]
    sha256: str


def build_family(trial: TrialConfig, *, channels: int, size: int, classes: int, base: Base | None = None) -> Family:
    """The family of a trial for images of a shape; its first weights depend on the seed only.

    One that goes on from a base has the base's weights if they are given.  The global state of randomness is left as it
    was.
    """
    settings: Finetuning = trial.bound("finetune")()
    with trial.keys_in_errors(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        if settings.base is None:
            family: Family = trial.bound("family")(channels, size, classes)
            return family
        family = trial.bound("family")(channels, size, len(settings.classes))
        known = family.classes
        for name, network in family.networks.items():
            load = partial(_load, network, name, base)
            settings.update(network, load, known, classes - known if known else 0)
        family.classes = classes if known else 0
    return family


def read_base(folder: Path) -> Base:
    """The model in a checkpoint, all that it has learnt merged into plain weights.

    Raises GensweepError if it is damaged, or cannot be merged.
    """
    checkpoint = read(folder)
    trial, tensors = TrialConfig.from_dict(checkpoint.metadata), load_tensors(folder)
    channels, size, _ = checkpoint.shape
    family = build_family(trial, channels=channels, size=size, classes=len(checkpoint.class_names))
    for name, network in family.networks.items():
        load_network(network, tensors, checkpoint.weights if name == family.sampled else f"networks/{name}/")
        merge_all(network)
        if low_rank_updates(network):
            raise GensweepError(
                f"{folder}: updates below a spectral norm cannot be merged; go on from the base instead"
            )
    weights = {name: network.state_dict() for name, network in family.networks.items()}
    return Base(trial, checkpoint.shape, checkpoint.class_names, weights, weights_hash(weights[family.sampled]))


def merge_all(network: nn.Module) -> None:
    """Make plain weights of everything that fine-tuning has put beside them."""
    merge(network, (LowRank, NewRows))


def in_labels_of_base(trial: TrialConfig, images: Images) -> Images:
    """The images with the labels that the trial's model gives them: those of its base first, then new ones.

    Raises ConfigError if `finetune.name` does not fit.
    """
    settings: Finetuning = trial.bound("finetune")()
    if settings.base is None:
        return images
    names = images.class_names
    if settings.name is not None:
        if len(names) > 1:
            raise ConfigError(
                f"finetune.name: {settings.name!r} would be the name of one class, but {images.name} has {len(names)} "
                "with names of their own; leave it out"
            )
        names = (settings.name,)
    every = (*settings.classes, *(name for name in names if name not in settings.classes))
    if not trial.as_dict()["family"].get("conditional"):
        return replace(images, class_names=names)
    moved = torch.tensor([every.index(name) for name in names])
    return replace(images, labels=moved[images.labels], class_names=every)


def adapter_writer(trial: TrialConfig, images: Images) -> Callable[[nn.Module, Path], None] | None:
    """What puts the adapter of a fine-tuning into the folder of a checkpoint; None for other trials."""
    settings: Finetuning = trial.bound("finetune")()
    if settings.base is None:
        return None
    told: dict[str, Any] = {**trial.as_dict()["finetune"]["update"], "data": images.name, "images": len(images)}
    known, new = settings.classes, images.class_names[len(settings.classes) :]
    if not trial.as_dict()["family"].get("conditional"):
        known, new = (), ()

    def write(network: nn.Module, folder: Path) -> None:
        adapter = adapter_of(network, base=settings.sha256 or "", known=known, new=new, settings=told)
        if adapter is not None:
            write_adapter(adapter, folder / ADAPTER)

    return write


def _load(network: nn.Module, name: str, base: Base | None) -> None:
    if base is not None:
        load_network(network, {f"{name}/{key}": tensor for key, tensor in base.weights[name].items()}, f"{name}/")
