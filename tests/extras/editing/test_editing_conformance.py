"""What every family that denoises must do, so that its models can begin with an image."""

import pytest
import torch
from tiny import CLASSES, SIZE, build

from gensweep.diffusion.sdedit import edit
from gensweep.extras.editing.interpolation import decode, deterministic_levels, encode
from gensweep.families.family import FAMILIES, Denoising
from gensweep.noise import Noise

DENOISING = [
    (kind, conditional)
    for kind in FAMILIES
    for conditional in (False, True)
    if isinstance(build(kind, conditional), Denoising)
]


def family_of(kind, conditional):
    family = build(kind, conditional)
    network = family.networks[family.sampled].eval()
    for parameter in network.parameters():  # a network that begins with zeros sees nothing
        torch.nn.init.normal_(parameter, std=0.1)
    labels = torch.arange(4) % CLASSES if family.classes else None
    return family, network, labels


@torch.no_grad()
@pytest.mark.parametrize(("kind", "conditional"), DENOISING)
def test_strength_1_is_the_familys_own_sampling_and_strength_0_the_image(kind, conditional):
    family, network, labels = family_of(kind, conditional)
    noise, image = Noise(3, torch.arange(4)), torch.rand(1, SIZE, SIZE)
    denoise = family.denoise(network, labels)
    forgotten, kept, between = (
        edit(family.process, family.sampler, denoise, noise, image, strength=strength) for strength in (1.0, 0.0, 0.4)
    )
    torch.testing.assert_close(forgotten, family.sample(network, noise, labels))
    assert torch.equal(kept, image.expand(4, -1, -1, -1))
    assert between.shape == kept.shape
    assert float(between.abs().max()) <= 1
    assert float((between - kept).abs().mean()) > 0


@torch.no_grad()
@pytest.mark.parametrize("conditional", [False, True])
def test_an_image_becomes_noise_and_an_image_again(conditional):
    family, network, labels = family_of("diffusion", conditional)
    denoise = family.denoise(network, labels)
    codes = encode(deterministic_levels(family.process, family.sampler), denoise, torch.rand(4, 1, SIZE, SIZE))
    images = decode(family.process, family.sampler, denoise, codes)
    assert torch.isfinite(codes).all()
    assert float(images.abs().max()) <= 1
