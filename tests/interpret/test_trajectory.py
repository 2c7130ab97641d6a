"""The way from noise to image is the sampler's own, and attention is the network's own."""

import pytest
import torch
from tiny import CLASSES, SIZE, build

from gensweep.diffusion.samplers.sampler import SAMPLERS, is_adaptive
from gensweep.families.denoising import DenoisingFamily
from gensweep.families.family import FAMILIES
from gensweep.interpret.trajectory import evenly_spaced, record_path, recording_attention
from gensweep.nn.unet import Attention
from gensweep.noise import Noise


def family_of(kind, **settings):
    family = build(kind, True, **settings)
    network = family.networks[family.sampled].eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return family, network


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if issubclass(FAMILIES[kind], DenoisingFamily)])
@pytest.mark.parametrize("sampler", [kind for kind in SAMPLERS if not is_adaptive(SAMPLERS[kind])])
def test_to_look_changes_no_bit_of_the_images(kind, sampler):
    family, network = family_of(kind, sampler={"kind": sampler, "steps": 4})
    noise, labels = Noise(3, torch.arange(4)), torch.arange(4) % CLASSES
    path, images = record_path(family, noise, labels, (1, SIZE, SIZE), attention=True)
    assert torch.equal(images, family.sample(network, noise, labels))
    assert torch.equal(images, path[-1].x_0)
    levels = [step.sigma for step in path]
    assert levels == sorted(levels, reverse=True)
    assert len({*levels}) == len(levels) >= 4
    assert all(step.attention for step in path)


@torch.no_grad()
def test_with_guidance_the_attention_shown_is_that_under_the_label():
    family, _ = family_of("diffusion", guidance=1.0)
    labels, noise = torch.arange(2), Noise(3, torch.arange(2))
    plain = record_path(family, noise, labels, (1, SIZE, SIZE), attention=True)[0][0]
    family.guidance = 2.0
    guided = record_path(family, noise, labels, (1, SIZE, SIZE), attention=True)[0][0]
    for name, each in plain.attention.items():
        torch.testing.assert_close(guided.attention[name], each)


@torch.no_grad()
def test_attention_is_what_pixels_receive_and_1_in_the_mean():
    layer = Attention(8)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=1)
    x = torch.randn(2, 8, 4, 4)
    with recording_attention({"it": layer}) as seen:
        layer(x)
    (received,) = seen.values()
    torch.testing.assert_close(received.mean(dim=(1, 2)), torch.ones(2))
    # The same weights by their definition, pixel by pixel.
    pixels = layer.norm(x).permute(0, 2, 3, 1).reshape(2, 16, 8)
    q, k, _ = layer.qkv(pixels).chunk(3, dim=-1)
    heads, size = layer.heads, 8 // layer.heads
    expected = torch.zeros(2, 16)
    for image in range(2):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for query in range(16):
                weights = (k[image, :, part] @ q[image, query, part] / size**0.5).softmax(dim=0)
                expected[image] += weights / heads
    torch.testing.assert_close(received.flatten(1), expected)


@torch.no_grad()
def test_even_stops_keep_both_ends():
    family, _ = family_of("diffusion", sampler={"kind": "ddim", "steps": 9})
    path, _ = record_path(family, Noise(0, torch.arange(1)), None, (1, SIZE, SIZE))
    for count in (2, 5, 9, 50):
        stops = evenly_spaced(path, count)
        assert len(stops) == min(count, 9)
        assert (stops[0], stops[-1]) == (path[0], path[-1])
