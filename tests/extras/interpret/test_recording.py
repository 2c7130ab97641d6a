"""Hooks hear what a network does, on every path that draws samples, and leave no trace."""

import pytest
import torch
from tiny import CLASSES, build
from torch import nn

from gensweep.extras.interpret.recording import reading_layers, recording
from gensweep.families.family import FAMILIES
from gensweep.noise import Noise


def family_of(kind, **settings):
    family = build(kind, True, **settings)
    network = family.networks[family.sampled].eval()
    for parameter in network.parameters():  # a network that begins with zeros sees nothing
        torch.nn.init.normal_(parameter, std=0.1)
    return family, network.to(memory_format=torch.channels_last)


def draw(family, network):
    return family.sample(network, Noise(3, torch.arange(4)), torch.arange(4) % CLASSES)


@torch.no_grad()
@pytest.mark.parametrize("kind", [*FAMILIES])
def test_recording_changes_no_bit_of_the_samples(kind):
    family, network = family_of(kind)
    before = draw(family, network)
    layers = reading_layers({"it": network})
    with recording(layers) as seen:
        during = draw(family, network)
    after = draw(family, network)
    assert torch.equal(before, during)
    assert torch.equal(before, after)
    assert seen
    assert all(units.shape[0] == 4 and torch.isfinite(units).all() for units in seen.values())
    assert not any(module._forward_pre_hooks for module in network.modules())


@torch.no_grad()
def test_units_are_the_means_of_the_maps_a_layer_reads():
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 1, 1))
    x = torch.randn(5, 2, 4, 4)
    with recording(reading_layers({"n": network})) as seen:
        network(x)
    torch.testing.assert_close(seen["n.0"], x.mean(dim=(2, 3)))
    torch.testing.assert_close(seen["n.2"], network[0](x).relu().mean(dim=(2, 3)))
