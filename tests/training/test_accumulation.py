"""A batch in parts trains like the whole batch."""

import pytest
import tiny
import torch

from gensweep.data.loader import Loader
from gensweep.errors import ConfigError
from gensweep.training.distributed import Workers
from gensweep.training.learner_state import state_of
from gensweep.training.loop import train

#: Families whose networks see images one by one while they train; a flow pairs those of the whole batch.
FAMILIES = {
    "diffusion": {"network": tiny.SMALL["diffusion"]["network"] | {"dropout": 0.0}},
    "flow": {"network": tiny.SMALL["flow"]["network"] | {"dropout": 0.0}},
    "meanflow": {"network": tiny.SMALL["meanflow"]["network"] | {"dropout": 0.0}},
    "gan": {
        "network": {"kind": "dcgan", "width": 8, "discriminator_norm": "spectral"},
        "gan": {"latent": 6, "penalty": {"kind": "r1", "every": 2}, "augmentation": {"kind": "diffaugment"}},
    },
    "r3gan": {
        "network": {"kind": "r3gan", "width": 8, "depth": 1},
        "gan": {"latent": 6, "loss": {"kind": "relativistic"}, "penalty": {"kind": "r1_r2"}},
    },
}


def trained(kind, parts, batch_size=8):
    family = "gan" if kind == "r3gan" else kind
    learner = tiny.learner(
        family,
        conditional=False,
        images=4 * batch_size,
        batch_size=batch_size,
        family=FAMILIES[kind],
        accumulation=parts,
    )
    if kind == "gan":
        # Spectral norm takes a step in every pass, and batch norms look at whole parts: both stand still here.
        for network in learner.family.networks.values():
            network.eval()
    losses = [event.losses | event.signals for event in filter(None, train(learner, Loader(tiny.images(), seed=3)))]
    return losses, state_of(learner)


@pytest.mark.trains
@pytest.mark.parametrize("parts", [3, 7])
@pytest.mark.parametrize("kind", FAMILIES)
def test_parts_have_the_losses_and_the_gradients_of_the_whole(kind, parts):
    """In unequal parts too; moments of Adam are means of gradients."""
    (losses, state), (ours, our_state) = trained(kind, 1, 7), trained(kind, parts, 7)
    for mine, theirs in zip(ours, losses, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5, abs=1e-6)
    for name, tensor in state.items():
        tolerance = 1e-6 if "/exp_avg" in name else 2e-5
        torch.testing.assert_close(our_state[name], tensor, rtol=1e-4, atol=tolerance, msg=name)


def test_every_part_of_every_worker_needs_an_image():
    with pytest.raises(ConfigError, match=r"batch_size: 8 is less than the 3 workers times 3 parts \(accumulation\)"):
        tiny.learner("gan", batch_size=8, accumulation=3, workers=Workers(0, 3))
