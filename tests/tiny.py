"""The smallest families and data sets that can be trained, for the tests of several rooms."""

from functools import partial

import torch
from real_features import MadeUp

from gensweep.config.models import bind, item_model
from gensweep.data.images import Images
from gensweep.families.family import FAMILIES, Batch
from gensweep.metrics.extractors import QUANTISATION, Extractor
from gensweep.metrics.metric import LIKELIHOOD_QUANTISATION, METRICS
from gensweep.nn.updates import UPDATES
from gensweep.noise import Noise
from gensweep.registry import keywords
from gensweep.results import Identity
from gensweep.training.distributed import ALONE
from gensweep.training.evaluation import Evaluator
from gensweep.training.loop import Learner
from gensweep.training.settings import EvaluationSettings, LikelihoodSettings, TrainingSettings

SIZE, CLASSES = 8, 3
# The smallest networks, so that the suite runs fast; a kind that is not listed runs with its defaults.
SMALL = {
    "diffusion": {
        "network": {"kind": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,)},
        "diffusion": {"timesteps": 20},
        "sampler": {"kind": "ddim", "steps": 4},
    },
    "gan": {"network": {"kind": "dcgan", "width": 8}, "gan": {"latent": 6}},
    # A diffusion that grows from the first batches on, and can be seen.
    "diffusion_gan": {
        "network": {"kind": "dcgan", "width": 8},
        "gan": {"latent": 6, "augmentation": {"kind": "ada", "images": 200}},
        "adaptive_diffusion": {"target": -0.9, "images": 80, "interval": 2, "noise_std": 0.5},
    },
    "flow": {
        "network": {"kind": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,)},
        "flow": {"times": {"kind": "logit_normal"}, "drawing": "antithetic", "pairing": {"kind": "optimal_transport"}},
        "sampler": {"kind": "straight_heun", "steps": 4},
    },
    "meanflow": {
        "network": {"kind": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,)},
        "flow": {"times": {"kind": "logit_normal"}},
        "sampler": {"kind": "euler", "steps": 2},
    },
    "vae": {"network": {"kind": "conv", "width": 8}, "vae": {"latent": 6}},
    "vdm": {
        "network": {"kind": "unet", "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,)},
        "vdm": {"schedule": {"kind": "monotone", "features": 16}},
        "sampler": {"kind": "ddim", "steps": 4},
    },
}


def network(kind, dropout):
    """The settings of the small network of a family, with another dropout if it has one."""
    settings = SMALL[kind]["network"]
    return settings | ({"dropout": dropout} if settings["kind"] == "unet" else {})


def build(kind, conditional=False, **settings):
    # A family's conditioning is a setting of its own.
    values = {"kind": kind, **SMALL.get(kind, {}), **settings}
    if "conditional" in keywords(FAMILIES[kind]):
        values["conditional"] = conditional
    return bind(item_model(FAMILIES, kind).model_validate(values))(1, SIZE, CLASSES)


def batch(n=6, start=0):
    positions = torch.arange(start, start + n)
    noise = Noise(7, positions)
    return Batch(noise.uniform(1, SIZE, SIZE, stream=99) * 2 - 1, positions % CLASSES, noise, n)


def values(family, data):
    return [float(loss.value.detach()) for loss in family.losses(family.networks, data)]


def images(n=40, flip=True):
    """Random pictures."""
    pixels = Noise(1, torch.arange(n)).integers(256, 1, SIZE, SIZE, stream=0).to(torch.uint8)
    names = tuple("abc"[:CLASSES])
    return Images(pixels, torch.arange(n) % CLASSES, names, "noise/train", f"{n:064x}", flip)


def adapted(family, **update):
    """The family with low-rank updates of its frozen networks, and a new label."""
    for network in family.networks.values():
        UPDATES["lora"](network, lambda: None, family.classes, int(family.classes > 0), **update)
    family.classes += int(family.classes > 0)
    return family


def learner(kind, *, conditional=True, seed=3, workers=None, family=None, update=None, **training_settings):
    """A tiny family with small settings of training, in float32, which is exact enough to compare."""
    torch.manual_seed(0)
    built = build(kind, conditional, **(family or {}))
    settings = {"images": 64, "batch_size": 8, "precision": "float32", "ema_half_life": 30, "log_every": 16}
    return Learner(
        built if update is None else adapted(built, **update),
        TrainingSettings(**(settings | training_settings)),
        seed=seed,
        workers=workers or ALONE,
    )


def evaluator(likelihood=False, names=("fd",), **settings):
    """Scores by random projections of the pixels, and by likelihood if asked, of images in proportions 2 : 1 : 1."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIZE * SIZE, 4))
    extractor = Extractor(network, lambda pixels: pixels / 255, id="projection/4", num_features=4)
    reference = MadeUp(extractor(images().pixels))
    values = EvaluationSettings(
        metrics=(*names, *["bpd"] * likelihood),
        extractor=lambda device, cache: extractor,
        likelihood=partial(LikelihoodSettings, images=11, timesteps=5, latents=5),
        **({"samples": 20, "batch_size": 6, "every": 24} | settings),
    )
    metrics = {name: METRICS[name](reference, "cpu") for name in values.metrics}
    identities = {name: Identity(name, extractor.id, values.samples, "noise", QUANTISATION) for name in names}
    if likelihood:
        identities["bpd"] = Identity("bpd", None, 11, "noise", LIKELIHOOD_QUANTISATION, timesteps=5, latents=5)
    return Evaluator(values, images(4), extractor, metrics, identities, images(11) if likelihood else None)
