"""Checkpoints of models that have not been trained, or hardly, for tests of what comes after a training."""

import torch
from list_reporter import ListReporter

from gensweep.build.parts import build_evaluator, build_learner, load_images, run_job
from gensweep.config import TrialConfig
from gensweep.training.checkpoint import Checkpoint, save
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import evaluate
from gensweep.training.learner_state import sampler_prefix, state_of
from gensweep.training.reporter import WorkerContext

DIGITS = {
    "seed": 5,
    "data": {"kind": "digits", "size": 8, "limit": 40},
    "training": {"images": 32, "batch_size": 8, "ema_half_life": 20, "precision": "float32"},
    "evaluation": {"samples": 8, "batch_size": 5, "extractor": {"kind": "efficientnet_lite0", "resolution": 32}},
}
FAMILIES = {
    "diffusion": {
        "family": {"kind": "diffusion", "conditional": True},
        "network": {"kind": "cnn", "width": 8},
        "diffusion": {"timesteps": 10},
        "sampler": {"kind": "ddim", "steps": 3, "eta": 0.5},
    },
    "gan": {"family": {"kind": "gan", "conditional": False}, "network": {"kind": "dcgan", "width": 8}},
    "vae": {
        "family": {"kind": "vae", "conditional": True},
        "network": {"kind": "conv", "width": 8},
        "vae": {"latent": 6},
        "optimizer": {"learning_rate": 0.05, "warmup": 0},  # at first it draws the same image for all latents
    },
}


def config(kind, **overrides):
    trial = TrialConfig.from_dict(DIGITS | FAMILIES[kind])
    return trial.with_overrides({key.replace("__", "."): value for key, value in overrides.items()})


def train(trial, folder, resume=(), reporter=None):
    """Run a trial alone on the CPU as a sweep would; returns its reporter."""
    reporter = reporter or ListReporter()
    context = WorkerContext(0, 1, torch.device("cpu"), folder, tuple(resume))
    run_job(trial.as_dict(), context, reporter)
    return reporter


def score(model, seed=0):
    """Evaluate a model as in its training; with another seed than 0, on images that no evaluation has seen."""
    evaluator = build_evaluator(model.config, load_images(model.config), model.device)
    return evaluate(model.family, model.network, evaluator, key=seed)


def checkpoint(root, trial):
    """A folder with a model whose averages all differ; returns it."""
    images = load_images(trial)
    learner = build_learner(trial, images, "cpu", Workers())
    torch.manual_seed(1)
    with torch.no_grad():
        for network in [*learner.family.networks.values(), *(each.network for each in learner.averages.values())]:
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    record = Checkpoint(
        images=32,
        seed=trial.seed,
        family=trial.kind("family"),
        shape=(1, 8, 8),
        class_names=images.class_names,
        class_counts=images.class_counts,
        weights=sampler_prefix(learner),
        metadata=trial.as_dict(),
    )
    folder = root / "images-000000000032"
    save(folder, record, state_of(learner))
    return folder
