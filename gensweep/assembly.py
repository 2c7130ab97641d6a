"""Where a configuration meets the maths: from a TrialConfig to data, family and judge, and to a training or images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gensweep.config import TrialConfig
from gensweep.data.cache import cache_folder
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.families.family import Family
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.identity import MetricIdentity
from gensweep.metrics.metric import METRICS
from gensweep.metrics.references import reference_moments, reference_name
from gensweep.noise import Noise
from gensweep.training.checkpoint import Checkpoint, load_tensors, read
from gensweep.training.cost import parameters
from gensweep.training.distributed import Workers
from gensweep.training.estimate import Cost, time_trial
from gensweep.training.evaluation import Judge, Verdict, draw, evaluate
from gensweep.training.loop import Learner, place
from gensweep.training.settings import Evaluation, Training
from gensweep.training.state import load_network
from gensweep.training.trial import Reporter, run_trial

__all__ = [
    "Cost",
    "Model",
    "Place",
    "build_extractor",
    "build_family",
    "build_judge",
    "build_learner",
    "build_loader",
    "count_parameters",
    "default_device",
    "draw_samples",
    "estimate_cost",
    "every_of",
    "load_checkpoint",
    "load_images",
    "run",
    "run_job",
    "score",
]


class Place(Protocol):
    """Where a job runs, as the sweep tells it: which worker of how many, its device, a folder for what it writes."""

    @property
    def rank(self) -> int:
        """Which worker, from 0."""

    @property
    def world(self) -> int:
        """How many workers."""

    @property
    def device(self) -> torch.device:
        """The worker's own."""

    @property
    def folder(self) -> Path:
        """For checkpoints."""

    @property
    def resume(self) -> Sequence[Path]:
        """Checkpoints to go on from, the best first."""


def default_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_images(trial: TrialConfig, split: Literal["train", "test"] = "train", root: Path | None = None) -> Images:
    """The data set of a trial; `root` is the cache folder by default."""
    images: Images = trial.bound("data")(split, root or cache_folder())
    return images


def build_loader(trial: TrialConfig, images: Images, device: torch.device | str = "cpu") -> Loader:
    """The stream of training images, on the device."""
    return Loader(images, seed=trial.seed, device=device)


def build_family(trial: TrialConfig, *, channels: int, size: int, classes: int) -> Family:
    """The family of a trial for images of a shape; its first weights depend on the seed only.

    The global state of randomness is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        family: Family = trial.bound("family")(channels, size, classes)
    return family


def build_learner(trial: TrialConfig, images: Images, device: torch.device | str, workers: Workers) -> Learner:
    """The family of a trial, ready to be trained."""
    family = build_family(trial, channels=images.channels, size=images.size, classes=images.classes)
    training: Training = trial.bound("training")()
    return Learner(family, training, seed=trial.seed, device=device, workers=workers)


def build_extractor(trial: TrialConfig, device: torch.device | str, cache: Path | None = None) -> Extractor:
    """The feature extractor of a trial's evaluation."""
    settings: Evaluation = trial.bound("evaluation")()
    return settings.extractor(device, cache or cache_folder())


def build_judge(trial: TrialConfig, images: Images, device: torch.device | str, cache: Path | None = None) -> Judge:
    """What a trial is judged by; `images` are those it is trained on.  Reference moments come from the cache."""
    cache = cache or cache_folder()
    settings: Evaluation = trial.bound("evaluation")()
    real = images if settings.against == "train" else load_images(trial, settings.against, cache)
    extractor = build_extractor(trial, device, cache)
    reference = reference_moments(real, extractor, cache)
    training: Training = trial.bound("training")()
    weights: Literal["ema", "raw"] = "ema" if training.ema_half_life else "raw"
    return Judge(
        extractor=extractor,
        metrics={name: METRICS[name](reference, extractor.num_features, device) for name in settings.metrics},
        identities={
            name: MetricIdentity(name, extractor.id, settings.samples, reference_name(real), weights=weights)
            for name in settings.metrics
        },
        samples=settings.samples,
        batch_size=settings.batch_size,
        class_counts=tuple(torch.bincount(images.labels, minlength=images.classes).tolist()),
        shape=(images.channels, images.size, images.size),
    )


def run(
    trial: TrialConfig,
    reporter: Reporter,
    *,
    folder: Path,
    device: torch.device | str | None = None,
    resume: Sequence[Path] = (),
    workers: Workers | None = None,
    cache: Path | None = None,
) -> None:
    """Run a trial to the end of its budget, in every one of its workers.

    Checkpoints go into `folder`; `resume` are those to go on from, the best first.  Raises GensweepError for what the
    user can mend, and whatever the reporter raises to stop the trial.
    """
    device = torch.device(device) if device is not None else default_device()
    images = load_images(trial, "train", cache)
    judge = build_judge(trial, images, device, cache)
    run_trial(
        build_learner(trial, images, device, workers or Workers.current()),
        build_loader(trial, images, device),
        judge,
        reporter,
        every=every_of(trial),
        folder=folder,
        metadata=trial.as_dict(),
        class_names=images.class_names,
        resume=resume,
    )


def count_parameters(trial: TrialConfig, images: Images) -> int:
    """How many parameters a trial trains, in all of its networks."""
    family = build_family(trial, channels=images.channels, size=images.size, classes=images.classes)
    return sum(parameters(family).values())


def estimate_cost(
    trial: TrialConfig,
    images: Images,
    *,
    workers: int = 1,
    device: torch.device | str | None = None,
    patience: float = 2.0,
) -> Cost:
    """What a trial will cost with so many workers like this process, from its first steps.

    Takes about three times `patience` seconds.  Reference statistics, which are made once for all trials, are left out.
    """
    device = torch.device(device) if device is not None else default_device()
    training: Training = trial.bound("training")()
    share = max(1, training.batch_size // workers)
    # A CPU is as fast an image in small batches; a GPU is not.
    tried = trial.with_overrides({"training.batch_size": share if device.type == "cuda" else min(share, 32)})
    learner = build_learner(tried, images, device, Workers())
    loader, extractor = build_loader(trial, images, device), build_extractor(trial, device)
    settings: Evaluation = trial.bound("evaluation")()
    return time_trial(learner, loader, extractor, settings, every=every_of(trial), workers=workers, patience=patience)


def every_of(trial: TrialConfig) -> int:
    """Training images from one evaluation of a trial to the next."""
    settings: Evaluation = trial.bound("evaluation")()
    training: Training = trial.bound("training")()
    return settings.every or max(1, training.images // 5)


def run_job(config: Mapping[str, Any], place: Place, reporter: Reporter) -> None:
    """`run` with a configuration as plain values, in the form in which a sweep calls it."""
    run(
        TrialConfig.from_dict(config),
        reporter,
        folder=place.folder,
        device=place.device,
        resume=place.resume,
        workers=Workers(place.rank, place.world),
    )


@dataclass(frozen=True)
class Model:
    """A trained family that can draw samples: the weights of a checkpoint, and the settings it was trained with."""

    trial: TrialConfig
    checkpoint: Checkpoint
    family: Family
    device: torch.device


def load_checkpoint(
    folder: Path, *, overrides: Mapping[str, Any] | None = None, device: torch.device | str | None = None
) -> Model:
    """The model in a checkpoint folder; `overrides` change settings of sampling, such as {"sampler.steps": 20}.

    Raises ConfigError for settings that do not exist, and GensweepError if the checkpoint is damaged or if a change
    does not fit its weights.
    """
    device = torch.device(device) if device is not None else default_device()
    checkpoint = read(folder)
    trial = TrialConfig.from_dict(checkpoint.metadata)
    if overrides:
        trial = trial.with_overrides(overrides)
    channels, size, _ = checkpoint.shape
    family = build_family(trial, channels=channels, size=size, classes=len(checkpoint.class_names))
    network = family.networks[family.sampled]
    load_network(network, load_tensors(folder, checkpoint.weights), checkpoint.weights)
    place(network, device, "float32").eval()
    return Model(trial, checkpoint, family, device)


def draw_samples(
    model: Model,
    count: int,
    *,
    class_name: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images 0..count-1 of a seed as uint8 (n, c, h, w) on the CPU, of one class or of all in turn.

    `progress` gets (images done, images in all).  Raises ConfigError for a class that the model does not know.
    """
    labels = _labels(model, count, class_name).to(model.device)
    network, drawn = model.family.networks[model.family.sampled], []
    for start in range(0, count, batch_size):
        indices = torch.arange(start, min(start + batch_size, count), device=model.device)
        images = draw(model.family, network, Noise(seed, indices), labels[indices])
        drawn.append(images.cpu())
        if progress is not None:
            progress(start + len(images), count)
    return torch.cat(drawn)


def score(model: Model, *, seed: int = 0, cache: Path | None = None) -> Verdict:
    """Judge a model as in its training; with another seed than 0, on images that no evaluation has seen."""
    judge = build_judge(model.trial, load_images(model.trial, "train", cache), model.device, cache)
    network = model.family.networks[model.family.sampled]
    return evaluate(model.family, network, judge, workers=Workers(), key=seed)


def _labels(model: Model, count: int, class_name: str | None) -> Tensor:
    names = model.checkpoint.class_names
    if class_name is None:
        return torch.arange(count) % max(1, len(names))
    if not model.family.classes:
        raise ConfigError(f"class {class_name!r}: this model was trained without labels; leave the class out")
    if class_name not in names:
        raise ConfigError(f"{class_name!r} is not a class of this model (known: {', '.join(names)})")
    return torch.full((count,), names.index(class_name))
