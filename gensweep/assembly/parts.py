"""The parts of a trial: from a TrialConfig to data, family, learner and judge."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from gensweep.config import TrialConfig
from gensweep.data.cache import cache_folder
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.families.family import Family
from gensweep.metrics.extractors import Extractor
from gensweep.metrics.identity import MetricIdentity
from gensweep.metrics.metric import METRICS
from gensweep.metrics.references import reference_moments, reference_name
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import Judge
from gensweep.training.loop import Learner
from gensweep.training.settings import Evaluation, Training

__all__ = [
    "build_extractor",
    "build_family",
    "build_judge",
    "build_learner",
    "build_loader",
    "default_device",
    "every_of",
    "load_images",
]


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
    weights = "ema" if training.ema_half_life else "raw"
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


def every_of(trial: TrialConfig) -> int:
    """Training images from one evaluation of a trial to the next."""
    settings: Evaluation = trial.bound("evaluation")()
    training: Training = trial.bound("training")()
    return settings.every or max(1, training.images // 5)
