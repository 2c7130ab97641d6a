"""What each of two processes does in the tests of distributed training."""

import tiny
import torch
import torch.distributed as dist

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES, Likelihood
from gensweep.families.optimizers import RateSchedule
from gensweep.gan.adversarial_losses import PENALTIES
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import evaluate
from gensweep.training.learner_state import state_of
from gensweep.training.loop import train

#: A way to draw levels that looks at all images of a batch, and a loss that learns a variance.
LEVELS = {"antithetic": {"timesteps": 5, "levels": {"kind": "antithetic"}}}
#: A penalty that is lazy comes more than once in a short training.
EVERY = {"r1": {"every": 2}}
#: Games with second derivatives, through batch norms of all workers and without, and with a memory; residual networks.
GAMES = {
    "wgan-gp": {
        "network": {"kind": "dcgan", "width": 8},
        "gan": {
            "loss": {"kind": "wasserstein"},
            "penalty": {"kind": "gradient_penalty"},
            "augmentation": {"kind": "diffaugment"},
            "discriminator_steps": 2,
            "latent": 6,
        },
    },
    "r1, ada": {
        "network": {"kind": "dcgan", "width": 8, "labels": "batch_norm", "discriminator_norm": "spectral"},
        "gan": {
            "penalty": {"kind": "r1", "every": 2},
            "augmentation": {"kind": "ada", "target": -0.9, "images": 80},
            "latent": 6,
        },
    },
    # Two passes through the batch norms before one backward.
    "pairs": {
        "network": {"kind": "dcgan", "width": 8},
        "gan": {
            "loss": {"kind": "relativistic"},
            "penalty": {"kind": "r1_r2", "every": 2},
            "augmentation": {"kind": "diffaugment"},
            "latent": 6,
        },
    },
    "r3gan": {
        "network": {"kind": "r3gan", "width": 8, "depth": 1},
        "gan": {
            "loss": {"kind": "relativistic"},
            "penalty": {"kind": "r1_r2", "final_weight": 0.1},
            "burn_in": 30,
            "final_rate": 0.25,
            "final_beta2": 0.99,
            "latent": 6,
        },
    },
} | {
    f"sngan, {penalty}": {
        "network": {"kind": "sngan", "width": 8, "discriminator_width": 12},
        "gan": {"penalty": {"kind": penalty} | EVERY.get(penalty, {}), "latent": 6},
    }
    for penalty in PENALTIES
}
#: Adam's epsilon.  By its own, 1e-8, a gradient that is 0 but for rounding (that of a bias before a batch norm or of an
#: attention's keys) makes steps of full length in random directions, and workers part.  Far above the rounding of
#: gradients, steps are as continuous as gradients are.
EPSILON = 1e-3
#: The learning rate of all networks, from the second batch on.
RATE = 1e-3
#: The features sin(2^8 pi z) of the default multiply rounding errors of an image by 800.
COARSE = {"vdm": {"vdm": tiny.SMALL["vdm"]["vdm"] | {"fourier": (0, 1)}}}
#: Denoisers that no family of the smallest has, one with several learning rates.
DENOISERS = {
    "dit": {"network": {"kind": "dit", "width": 16, "depth": 2, "registers": 2}},
    "mup": {
        "network": {"kind": "cnn", "width": 16, "depth": 2, "dropout": 0.0, "parametrisation": "mup", "base_width": 8}
    },
}
#: Low-rank updates of a network that stays as it is.
UPDATED = {"lora": ("diffusion", {"rank": 2}), "lora of a gan": ("gan", {"rank": 2})}
#: Batches in parts, whose gradients are averaged at the end.
PARTS = {"parts": {"accumulation": 2}}
#: With dropout, masks depend on the number of workers; batches of 7 make unequal shares, those of 8 equal ones.
CASES = [(kind, 7) for kind in dict.fromkeys((*FAMILIES, *LEVELS, *GAMES, *PARTS, *UPDATED, *DENOISERS))] + [("gan", 8)]


def trained(kind, batch_size, workers):
    """Losses, weights, scores and pictures of a short training, and how far its weights went."""
    settings = {"diffusion": LEVELS[kind], "sampler": {"kind": "ancestral"}} if kind in LEVELS else {}
    parts = PARTS.get(kind, {})
    settings = (GAMES | COARSE | DENOISERS).get(kind, settings)
    kind, update = UPDATED.get(kind, (kind, None))
    kind = "diffusion" if kind in LEVELS | PARTS | DENOISERS else "gan" if kind in GAMES else kind
    family = {"network": tiny.network(kind, dropout=0.0)} | settings
    learner = tiny.learner(
        kind, workers=workers, batch_size=batch_size, images=5 * batch_size, family=family, update=update, **parts
    )
    learner.family.rate_schedule = RateSchedule(batch_size)  # full steps from the second batch on
    for name, optimizer in learner.optimizers.items():
        learner.rates[name] = [RATE for _ in optimizer.param_groups]
        for group in optimizer.param_groups:
            group["eps"] = EPSILON
    weights = [parameter for network in learner.family.networks.values() for parameter in network.parameters()]
    before, losses = [parameter.detach().clone() for parameter in weights], []
    rungs = range(2 * batch_size, 5 * batch_size, 2 * batch_size)
    for event in filter(None, train(learner, Loader(tiny.images(), seed=3), rungs)):
        losses.append(event.losses | event.signals)
    evaluator = tiny.evaluator(isinstance(learner.family, Likelihood), samples=21, batch_size=8)
    verdict = evaluate(learner.family, learner.sampler, evaluator, workers=workers)
    state = {name: tensor.clone() for name, tensor in state_of(learner).items()}
    moved = max(float((now.detach() - old).abs().max()) for now, old in zip(weights, before, strict=True))
    return losses, state, {name: score.value for name, score in verdict.scores.items()}, verdict.shown, moved


def worker(rank, folder):
    """Train half of the cases alone, then all as one of two; shapes are not checked here, which takes a test long."""
    torch.set_num_threads(1)
    alone = {case: trained(*case, Workers()) for case in CASES[rank::2]}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {case: trained(*case, Workers(rank, 2)) for case in CASES}
    torch.save((results, alone), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
