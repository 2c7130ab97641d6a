"""Running a trial, and what it will cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from gensweep.build.parts import (
    beginning_of,
    build_evaluator,
    build_extractor,
    build_family,
    build_learner,
    default_device,
    every_of,
    load_images,
)
from gensweep.config import TrialConfig
from gensweep.data.images import Images
from gensweep.data.loader import Loader
from gensweep.training.cost import parameters
from gensweep.training.distributed import Workers
from gensweep.training.estimate import CostEstimate, time_trial
from gensweep.training.settings import EvaluationSettings, TrainingSettings
from gensweep.training.trial import Reporter, WorkerContext, run_trial

__all__ = ["count_parameters", "estimate_cost", "run_job"]


def run_job(config: Mapping[str, Any], context: WorkerContext, reporter: Reporter) -> None:
    """Run a trial, given as plain values, to the end of its budget, in every one of its workers.

    Raises GensweepError for what the user can mend, and whatever the reporter raises to stop the trial.
    """
    trial = TrialConfig.from_dict(config)
    images = load_images(trial)
    evaluator = build_evaluator(trial, images, context.device)
    with trial.keys_in_errors():
        run_trial(
            build_learner(trial, images, context.device, Workers(context.rank, context.world)),
            Loader(images, seed=trial.seed, device=context.device),
            evaluator,
            reporter,
            every=every_of(trial),
            folder=context.folder,
            metadata=trial.as_dict(),
            class_names=images.class_names,
            resume=context.resume,
            also=beginning_of(trial).writer(trial, images),
        )


def count_parameters(trial: TrialConfig, images: Images) -> int:
    """How many parameters a trial trains, in all of its networks."""
    return sum(parameters(build_family(trial, images.shape, images.classes)).values())


def estimate_cost(
    trial: TrialConfig,
    images: Images,
    *,
    workers: int = 1,
    device: torch.device | str | None = None,
    patience: float = 2.0,
) -> CostEstimate:
    """The cost of a trial on `workers` like this process, estimated from its first steps.

    Takes about three times `patience` seconds.  Reference statistics, which are made once for all trials, are left out.
    """
    device = torch.device(device) if device is not None else default_device()
    training: TrainingSettings = trial.bound("training")()
    share = max(1, training.batch_size // workers)
    # A CPU is as fast an image in small batches; a GPU is not.
    tried = trial.with_overrides({"training.batch_size": share if device.type == "cuda" else min(share, 32)})
    learner = build_learner(tried, images, device, Workers())
    loader = Loader(images, seed=trial.seed, device=device)
    settings: EvaluationSettings = trial.bound("evaluation")()
    extractor = build_extractor(trial, device) if settings.of("samples") else None
    return time_trial(learner, loader, extractor, settings, every=every_of(trial), workers=workers, patience=patience)
