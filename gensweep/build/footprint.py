"""How much memory and disk a trial takes, counted on its networks without training them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gensweep.build.parts import build_family, build_learner
from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import Family
from gensweep.training.cost import activation_bytes, trained_parameters
from gensweep.training.distributed import Workers
from gensweep.training.learner_state import state_of

#: Tensors of the size of the weights that Adam keeps: two moments.
MOMENTS = 2
#: Bytes of a parameter: itself, its gradient and the moments, in float32.
BYTES_PER_PARAMETER = 4 * (2 + MOMENTS)
#: Bytes of a worker before it trains: Python, PyTorch, Ray and the extractor, as measured on an idle one.
PROCESS_BYTES = 450 * 2**20


@dataclass(frozen=True)
class Footprint:
    """Bytes of a worker: of a checkpoint, of all that does not depend on the batch, and of each image of its batch."""

    parameters: int
    checkpoint: int
    constant: int
    image: int

    def of(self, images: int) -> int:
        """Those of a training step with so many images on the worker at once."""
        return self.constant + images * self.image

    def images_in(self, memory: int) -> int:
        """How many images at once fit; not positive if none does."""
        return (memory - self.constant) // max(1, self.image)


def footprint(trial: TrialConfig, images: Images, device: torch.device) -> Footprint:
    """What a trial takes on a device; on a GPU the data set and the process count, too, as both are small there."""
    learner = build_learner(trial, images, device, Workers())
    weights = trained_parameters(learner.family)
    trained = sum(each.nbytes for each in weights)
    checkpoint = sum(tensor.nbytes for tensor in state_of(learner).values()) + MOMENTS * trained
    constant = checkpoint + trained + images.pixels.nbytes + PROCESS_BYTES
    each = activation_bytes(learner.family, Loader(images, seed=trial.seed, device=device), learner.autocast)
    return Footprint(sum(each.numel() for each in weights), checkpoint, constant, each)


def images_at_once(trial: TrialConfig, workers: int) -> int:
    """How many images go through a worker's networks at once."""
    settings = trial.flat()
    return -(-int(settings["training.batch_size"]) // (workers * int(settings["training.accumulation"])))


def count_parameters(trial: TrialConfig, images: Images) -> int:
    """How many parameters a trial trains, in all of its networks; those take no memory where that is possible."""
    return sum(each.numel() for each in trained_parameters(_weightless_family(trial, images)))


def weight_shapes(trial: TrialConfig, images: Images) -> dict[str, torch.Size]:
    """The shapes of all weights of a trial's networks, by name: a checkpoint fits where they are equal."""
    networks = _weightless_family(trial, images).networks
    return {
        f"{name}/{key}": tensor.shape
        for name, network in networks.items()
        for key, tensor in network.state_dict().items()
    }


def _weightless_family(trial: TrialConfig, images: Images) -> Family:
    try:
        with torch.device("meta"):
            return build_family(trial, images.shape, images.classes)
    except RuntimeError:  # tensors that come out of a file are no such tensors
        return build_family(trial, images.shape, images.classes)
