"""Costs of a trial before it is trained: counts of operations, parameters and bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch

from gensweep.build.parts import build_family, build_learner, load_images
from gensweep.config import TrialConfig
from gensweep.config.objectives import Constraint
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.families.family import Family
from gensweep.results import MAX_IMAGES
from gensweep.training.cost import LARGE_BATCH, activation_bytes, sample_flops, trained_parameters, training_flops
from gensweep.training.distributed import Workers
from gensweep.training.learner_state import state_of

#: The costs that are known before a training, fastest first.
KNOWN_COSTS = ("images", "params", "flops", "sample_flops", "activation_bytes", "memory_bytes")
#: Tensors of the size of the weights in Adam's state: two moments.
MOMENTS = 2
#: Bytes per parameter: itself, its gradient and the moments, in float32.
BYTES_PER_PARAMETER = 4 * (2 + MOMENTS)
#: Bytes of a worker before it trains: Python, PyTorch, Ray and the extractor, as measured on an idle one.
PROCESS_BYTES = 450 * 2**20
#: Sections of a trial that affect no network, loss or sampler step.
SECTIONS_WITHOUT_OPERATIONS = ("seed", "training", "optimizer", "evaluation")


@dataclass(frozen=True)
class Footprint:
    """Parameters, and bytes: of a checkpoint, of a worker regardless of the batch, of each image."""

    parameters: int
    checkpoint: int
    constant: int
    image: int

    def of(self, images: int) -> int:
        """Bytes of a training step with this many images at once on the worker."""
        return self.constant + images * self.image

    def images_in(self, memory: int) -> int:
        """Most images at once that fit; zero or negative if none does."""
        return (memory - self.constant) // max(1, self.image)


class TrialCosts:
    """Costs of the trials of a sweep; loads each data set and counts each network once."""

    def __init__(self) -> None:
        self._images: dict[str, Images] = {}
        self._few: dict[str, Images] = {}
        self._counts: dict[tuple[str, int], float] = {}

    def with_length(self, trial: TrialConfig, flops: float) -> TrialConfig:
        """The trial with the whole batches that a budget pays for.  Raises ConfigError if it pays for none."""
        size, each = trial.flat()["training.batch_size"], self.flops_per_image(trial)
        if not each:
            raise ConfigError(
                "budget.flops: no layer of this family counts (linear, convolution, attention); set budget.images"
            )
        batches = int(flops / (each * size))
        if batches < 1:
            raise ConfigError(
                f"budget.flops: {flops:g} do not pay for one batch of {size} images at {each:.3g} FLOPs an image; set "
                f"at least {each * size:.3g}, or a smaller network or training.batch_size"
            )
        if batches * size > MAX_IMAGES:
            raise ConfigError(f"budget.flops: {flops:g} pay for more than {MAX_IMAGES:g} images; set fewer")
        return trial.model_copy(update={"training": trial.training.model_copy(update={"images": batches * size})})

    def flops_per_image(self, trial: TrialConfig) -> float:
        """Floating point operations of one training image, forward and backward, of all networks."""
        parts = trial.flat()["training.accumulation"]
        return self._counted(trial, parts, lambda family, images: training_flops(family, Loader(images, seed=0), parts))

    def flops(self, trial: TrialConfig) -> float | None:
        """Floating point operations of the whole training; None if it has a time limit."""
        images = _length(trial)
        return None if images is None else self.flops_per_image(trial) * images

    def sample_flops(self, trial: TrialConfig) -> float:
        """Floating point operations to generate one image."""
        return self._counted(trial, 0, lambda family, _: sample_flops(family))

    def limited(
        self, trial: TrialConfig, constraints: Iterable[Constraint], workers: int, device: torch.device
    ) -> dict[str, float]:
        """The known costs that have a limit, by name, up to the first that breaks it; memory is an estimate."""
        limits, found = {each.metric: each for each in constraints}, dict[str, float]()
        for name in (name for name in KNOWN_COSTS if name in limits):
            if (value := self._cost(trial, name, workers, device)) is not None:
                found[name] = value
                if limits[name].excess(value) > 0:
                    break
        return found

    def _cost(self, trial: TrialConfig, name: str, workers: int, device: torch.device) -> float | None:
        match name:
            case "images":
                return _length(trial)
            case "params":
                return count_parameters(trial, self._few_images(trial))
            case "flops":
                return self.flops(trial)
            case "sample_flops":
                return self.sample_flops(trial)
        if (data := _data_key(trial)) not in self._images:
            self._images[data] = load_images(trial)
        found = footprint(trial, self._images[data], device)
        return found.image if name == "activation_bytes" else found.of(images_at_once(trial, workers))

    def _counted(self, trial: TrialConfig, parts: int, count: Callable[[Family, Images], float]) -> float:
        if (key := (_network_key(trial), parts)) not in self._counts:
            images = self._few_images(trial)
            self._counts[key] = count(build_family(trial, images.shape, images.classes), images)
        return self._counts[key]

    def _few_images(self, trial: TrialConfig) -> Images:
        """The first images of a trial's data set, with all its classes."""
        if (data := _data_key(trial)) not in self._few:
            whole = load_images(trial)
            first = slice(LARGE_BATCH)
            self._few[data] = replace(whole, pixels=whole.pixels[first].clone(), labels=whole.labels[first].clone())
        return self._few[data]


def footprint(trial: TrialConfig, images: Images, device: torch.device) -> Footprint:
    """Memory and disk of a trial on a device; on a GPU they include the small data set and process."""
    learner = build_learner(trial, images, device, Workers())
    weights = trained_parameters(learner.family)
    trained = sum(each.nbytes for each in weights)
    checkpoint = sum(tensor.nbytes for tensor in state_of(learner).values()) + MOMENTS * trained
    constant = checkpoint + trained + images.pixels.nbytes + PROCESS_BYTES
    each = activation_bytes(learner.family, Loader(images, seed=trial.seed, device=device), learner.autocast)
    return Footprint(sum(each.numel() for each in weights), checkpoint, constant, each)


def images_at_once(trial: TrialConfig, workers: int) -> int:
    """Number of images that pass through a worker's networks at once."""
    settings = trial.flat()
    return -(-int(settings["training.batch_size"]) // (workers * int(settings["training.accumulation"])))


def count_parameters(trial: TrialConfig, images: Images) -> int:
    """Number of parameters that a trial trains; builds its networks without memory if possible."""
    return sum(each.numel() for each in trained_parameters(_weightless_family(trial, images)))


def _weightless_family(trial: TrialConfig, images: Images) -> Family:
    try:
        with torch.device("meta"):
            return build_family(trial, images.shape, images.classes)
    except RuntimeError:  # some weights come from a file and cannot be built on "meta"
        return build_family(trial, images.shape, images.classes)


def _length(trial: TrialConfig) -> int | None:
    """The images of a training, in whole batches; None if it has a time limit."""
    settings = trial.flat()
    batch: int = settings["training.batch_size"]
    return None if settings["training.device_seconds"] else -(-settings["training.images"] // batch) * batch


def _network_key(trial: TrialConfig) -> str:
    """Equal for trials whose networks need the same operations, in training and in sampling."""
    settings = {key: value for key, value in trial.as_dict().items() if key not in SECTIONS_WITHOUT_OPERATIONS}
    return json.dumps(settings, sort_keys=True)


def _data_key(trial: TrialConfig) -> str:
    values = trial.as_dict()
    return json.dumps([values["data"], values.get("start")], sort_keys=True)
