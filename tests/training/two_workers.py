"""What each of two processes does in the tests of distributed training."""

import tiny
import torch
import torch.distributed as dist

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES, Likelihood
from gensweep.training.distributed import Workers
from gensweep.training.evaluation import evaluate
from gensweep.training.loop import Progress, train
from gensweep.training.state import state_of

#: Ways to draw levels that look at all images of a batch; of two timesteps, so that losses are soon remembered of both.
LEVELS = {
    "antithetic": {"timesteps": 5, "levels": {"kind": "antithetic"}},
    "importance": {"timesteps": 2, "levels": {"kind": "importance"}, "loss": {"kind": "hybrid"}},
}
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
    "sngan": {
        "network": {"kind": "sngan", "width": 8, "discriminator_width": 8},
        # Small steps: gradients of biases before a batch norm are rounding errors, of which Adam makes whole steps.
        "gan": {"latent": 6, "generator_learning_rate": 2e-6, "discriminator_learning_rate": 2e-6},
    },
}
#: Low-rank updates of a network that stays as it is.
UPDATED = {"lora": ("diffusion", {"rank": 2}), "lora of a gan": ("gan", {"rank": 2})}
#: A batch in parts, whose gradients are averaged at the end.
PARTS = {"parts": {"accumulation": 2}}
#: With dropout, masks depend on the number of workers; batches of 7 make unequal shares.
CASES = [(kind, size) for kind in FAMILIES for size in (8, 7)] + [
    (kind, 7) for kind in (*LEVELS, *GAMES, *PARTS, *UPDATED)
]


def trained(kind, batch_size, workers):
    """Losses, weights and a verdict of a short training."""
    settings = {"diffusion": LEVELS[kind], "sampler": {"kind": "ancestral"}} if kind in LEVELS else {}
    parts = PARTS.get(kind, {})
    settings = GAMES.get(kind, settings)
    kind, update = UPDATED.get(kind, (kind, None))
    kind = "diffusion" if kind in LEVELS or kind in PARTS else "gan" if kind in GAMES else kind
    family = {"network": tiny.network(kind, dropout=0.0)} | settings
    learner = tiny.learner(
        kind, workers=workers, batch_size=batch_size, images=5 * batch_size, family=family, update=update, **parts
    )
    losses = []
    for event in train(learner, Loader(tiny.images(), seed=3), every=2 * batch_size):
        if isinstance(event, Progress):
            losses.append(event.losses | event.signals)
    evaluator = tiny.evaluator(isinstance(learner.family, Likelihood), samples=21, batch_size=4)
    verdict = evaluate(learner.family, learner.sampler, evaluator, workers=workers)
    state = {name: tensor.clone() for name, tensor in state_of(learner).items()}
    return losses, state, verdict.scores, verdict.shown


def worker(rank, folder):
    """Train as one of two."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {case: trained(*case, Workers.current()) for case in CASES}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
