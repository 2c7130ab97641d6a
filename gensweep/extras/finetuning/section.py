"""The start `finetune` of a trial: the trained model, and which of its weights change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import MinLen, doc
from torch import Tensor, nn

from gensweep.build.parts import build_family
from gensweep.config import SweepConfig, TrialConfig
from gensweep.data.images import ClassNames, Images
from gensweep.errors import ConfigError, GensweepError
from gensweep.families.family import Family
from gensweep.nn.updates import UPDATES, Update, low_rank_updates, merge
from gensweep.registry import Choice
from gensweep.training.adapters import ADAPTER_FILE, adapter_of, weights_hash, write_adapter
from gensweep.training.checkpoint import load_tensors, read
from gensweep.training.learner_state import load_network
from gensweep.training.start import STARTS, Start, Weights


@dataclass(frozen=True)
class Base:
    """A trained model to fine-tune: its settings, its images, and its weights by network.

    `sha256` is the hash of the sampling weights, averaged if the training kept an average.
    """

    folder: Path
    trial: TrialConfig
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    weights: Weights
    sha256: str

    def section(self) -> dict[str, Any]:
        """The section `start` of a trial based on this model."""
        return {"kind": "finetune", "base": str(self.folder), "sha256": self.sha256, "classes": list(self.class_names)}


def read_base(folder: Path) -> Base:
    """The model in a checkpoint, with its updates merged into plain weights.

    Raises GensweepError if it is damaged, or cannot be merged.
    """
    checkpoint = read(folder)
    trial, tensors = TrialConfig.from_dict(checkpoint.metadata), load_tensors(folder)
    family = build_family(trial, checkpoint.shape, len(checkpoint.class_names))
    for name, network in family.networks.items():
        load_network(network, tensors, checkpoint.weights if name == family.sampled else f"networks/{name}/")
        merge(network)
        if low_rank_updates(network):
            raise GensweepError(f"{folder}: updates below a spectral norm cannot be merged; fine-tune its base instead")
    weights = {name: network.state_dict() for name, network in family.networks.items()}
    sha256 = weights_hash(weights[family.sampled])
    return Base(folder, trial, checkpoint.shape, checkpoint.class_names, weights, sha256)


@STARTS.register("finetune")
@dataclass(frozen=True, kw_only=True)
class Finetuning(Start):
    """Fine-tune a trained model on other images.

    Missing settings are those of the base.  Unknown classes are learned as new labels.
    """

    base: Annotated[str, doc("the trained model: a run or a checkpoint")]
    sha256: Annotated[str | None, doc("hash of the base's weights; filled in when the run starts")] = None
    classes: Annotated[ClassNames | None, doc("classes of the base; filled in when the run starts")] = None
    name: Annotated[
        Annotated[str, MinLen(1)] | None,
        doc("class name of images without classes; null: the data set's name"),
    ] = None
    update: Annotated[Update, Choice(UPDATES, "lora"), doc("which weights change, and how")]
    searchable = False

    @classmethod
    def prepare(cls, sweep: SweepConfig) -> SweepConfig:
        """The sweep with the settings of the base."""
        from gensweep.extras.finetuning.inherited_settings import with_base

        return with_base(sweep)

    def images(self, trial: Mapping[str, Any], images: Images) -> Images:
        """Images with the base's labels first, then new ones.  Raises ConfigError if `name` does not fit."""
        names = images.class_names
        if self.name is not None:
            if len(names) > 1:
                raise ConfigError(
                    f"start.name: {self.name!r} names a single class, but {images.name} has {len(names)} named "
                    "classes; leave it out"
                )
            names = (self.name,)
        if not _conditional(trial):
            return replace(images, class_names=names)
        every = tuple(dict.fromkeys((*(self.classes or ()), *names)))
        new_labels = torch.tensor([every.index(name) for name in names])
        return replace(images, labels=new_labels[images.labels], class_names=every)

    def weights(self) -> Weights | None:
        """The base's weights by network.  Raises GensweepError if they changed since the run began."""
        base = read_base(Path(self.base))
        if self.sha256 is not None and base.sha256 != self.sha256:
            raise GensweepError(
                f"start.base: the weights of {self.base} changed from {self.sha256[:12]} to {base.sha256[:12]} since "
                "this run began; start a new run with another name"
            )
        return base.weights

    def family(self, build: Callable[[int], Family], classes: int, weights: Weights | None) -> Family:
        """The base's family, with the trainable updates."""
        family = build(len(self.classes or ()))
        known = family.classes
        for name, network in family.networks.items():
            load = partial(_load, network, name, None if weights is None else weights[name])
            self.update(network, load, known, classes - known if known else 0)
        family.classes = classes if known else 0
        return family

    def writer(self, trial: Mapping[str, Any], images: Images) -> Callable[[nn.Module, Path], None]:
        """A function that writes the adapter to a checkpoint folder."""
        settings = {**trial["start"]["update"], "data": images.name, "images": len(images)}
        known = self.classes if self.classes and _conditional(trial) else ()
        new = images.class_names[len(known) :] if _conditional(trial) else ()

        def write(network: nn.Module, folder: Path) -> None:
            adapter = adapter_of(network, base=self.sha256 or "", known=known, new=new, settings=settings)
            if adapter is not None:
                write_adapter(adapter, folder / ADAPTER_FILE)

        return write


def _conditional(trial: Mapping[str, Any]) -> bool:
    return bool(trial["family"].get("conditional"))


def _load(network: nn.Module, name: str, state: Mapping[str, Tensor] | None) -> None:
    """Load the base's weights if given: a checkpoint of the run has its own."""
    if state is not None:
        load_network(network, {f"{name}/{key}": tensor for key, tensor in state.items()}, f"{name}/")
