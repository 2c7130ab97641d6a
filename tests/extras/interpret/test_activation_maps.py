"""The activation map of a network built to have one unit that knows a label; and of real ones."""

import pytest
import torch
from known_label import LABEL, LAYER, UNIT, WIDTH, family
from tiny import CLASSES, SIZE, build

from gensweep.extras.interpret.activation_maps import Unit, map_denoiser, map_generator
from gensweep.extras.interpret.recording import evenly_spaced, reading_layers, record_path
from gensweep.noise import Noise

CHANCE = Noise(9, torch.arange(199))


def activation_map(made, pattern=""):
    layers = {name: layer for name, layer in reading_layers(made.networks).items() if pattern in name}
    noise = Noise(0, torch.arange(12))
    path, _ = record_path(made, noise, noise.samples % CLASSES, (1, SIZE, SIZE))
    return map_denoiser(made, layers, evenly_spaced(path, 3), CLASSES, CHANCE)


def test_the_known_unit_is_found_at_every_level_and_no_other_one():
    found = activation_map(family())
    assert found.widths == {"denoiser.first": 1, LAYER: WIDTH}
    assert len(found.levels) == 3
    assert found.raised_units(LABEL, 10) == [Unit(LAYER, UNIT)]
    place = found.units.index(Unit(LAYER, UNIT))
    assert (found.p[:, LABEL, place] == 1 / 200).all()
    others = torch.ones(WIDTH + 1, dtype=torch.bool)
    others[place] = False
    assert (found.p[..., others] > 0.05).all()
    assert (found.effect[..., others] == 0).all()


@pytest.mark.parametrize("kind", ["gan", "diffusion_gan"])
@pytest.mark.parametrize(
    "network", [{"kind": "dcgan", "width": 8, "labels": "batch_norm"}, {"kind": "sngan", "width": 8}]
)
def test_the_generator_of_a_gan_reacts_to_labels(kind, network):
    made = build(kind, True, network=network | {"width": 8})
    generator = made.networks["generator"].eval()
    for name, parameter in generator.named_parameters():
        if "label" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.5)
    found = map_generator(made, reading_layers({"generator": generator}), Noise(0, torch.arange(12)), CLASSES, CHANCE)
    assert found.levels == (None,)
    assert any(found.raised_units(label, 1) for label in range(CLASSES))
