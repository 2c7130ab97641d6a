"""What processes do in the tests of compiled training: shapes are not checked there, as checks cannot be traced."""

from functools import partial
from unittest import mock

import tiny
import torch
import torch.distributed as dist
from torch._dynamo.utils import counters

from gensweep.data.loader import Loader
from gensweep.families.family import FAMILIES
from gensweep.families.optimizers import RateSchedule
from gensweep.training import loop
from gensweep.training.device import compiled
from gensweep.training.distributed import ALONE, Workers
from gensweep.training.learner_state import restore, state_of

BATCH = 8
#: A penalty with second derivatives, parametrised weights, and steps without a generator's loss.
SNGAN = {
    "network": {"kind": "sngan", "width": 8, "discriminator_width": 8},
    "gan": {"latent": 6, "discriminator_steps": 2, "penalty": {"kind": "r1", "every": 2}},
}
CNN = {"network": {"kind": "cnn", "width": 8, "depth": 2, "dropout": 0.0}}
CASES = {kind: (kind, {"network": tiny.network(kind, dropout=0.0)}) for kind in FAMILIES}
# One U-Net is enough, as it takes longest to trace.
CASES |= {"sngan": ("gan", SNGAN), "cnn": ("diffusion", CNN), "vdm": ("vdm", CNN)}
CASES |= {kind: (kind, CNN) for kind in ("flow", "meanflow")}


def trained(case, compilation, workers=ALONE, stop=False):
    """Losses and state of four steps; with `stop` another learner goes on after two."""
    kind, settings = CASES[case]
    torch.manual_seed(0)

    def made():
        with mock.patch.object(loop, "compiled", partial(compiled, backend="aot_eager")):
            learner = tiny.learner(
                kind, workers=workers, batch_size=BATCH, images=4 * BATCH, family=settings, compilation=compilation
            )
        learner.family.rate_schedule = RateSchedule(warmup=0)
        for optimizer in learner.optimizers.values():
            for group in optimizer.param_groups:
                group["eps"] = 1e-3  # or gradients that are nothing but rounding would make steps of full length
        return learner

    learner, losses = made(), []
    for event in filter(None, loop.train(learner, Loader(tiny.images(), seed=3), range(BATCH, 4 * BATCH, BATCH))):
        losses.append(event.losses)
        if stop and event.images == 2 * BATCH:
            first, learner = learner, made()
            restore(learner, state_of(first))
            learner.images = first.images
            rest = loop.train(learner, Loader(tiny.images(), seed=3), range(BATCH, 99, BATCH))
            losses += [each.losses for each in filter(None, rest)]
            break
    return losses, {name: tensor.clone() for name, tensor in state_of(learner).items()}


def worker(rank, folder):
    """Half of the cases alone, then one as one of two."""
    torch.set_num_threads(1)
    results = {}
    for case in list(CASES)[rank::2]:
        torch.compiler.reset()
        counters.clear()
        results[case] = trained(case, "none"), trained(case, "default"), dict(counters["graph_break"])
    if rank == 0:
        results["resumed"] = trained("gan", "default", stop=True)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.compiler.reset()
    results["two"] = trained("cnn", "default", Workers(rank, 2))
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
