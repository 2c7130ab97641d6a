"""The way from noise to image is the sampler's own."""

import pytest
import torch
from tiny import CLASSES, SIZE, build

from gensweep.diffusion.samplers.sampler import SAMPLERS
from gensweep.extras.interpret.recording import record_path
from gensweep.families.denoising import DenoisingFamily
from gensweep.families.family import FAMILIES
from gensweep.noise import Noise


def family_of(kind, **settings):
    family = build(kind, True, **settings)
    network = family.networks[family.sampled].eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return family, network


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if issubclass(FAMILIES[kind], DenoisingFamily)])
@pytest.mark.parametrize("sampler", SAMPLERS.kinds())
def test_to_look_changes_no_bit_of_the_images(kind, sampler):
    family, network = family_of(kind, sampler={"kind": sampler, "steps": 4})
    noise, labels = Noise(3, torch.arange(4)), torch.arange(4) % CLASSES
    path, images = record_path(family, noise, labels, (1, SIZE, SIZE))
    assert torch.equal(images, family.sample(network, noise, labels))
    assert torch.equal(images, path[-1].x_0)
    levels = [step.sigma for step in path]
    assert levels == sorted(levels, reverse=True)
    assert len({*levels}) == len(levels) >= 4
