"""Switching units off: the right ones, compared with the right others."""

import pytest
import torch
from known_label import LABEL, LAYER, UNIT, family
from tiny import CLASSES, SIZE

from gensweep.extras.interpret.activation_maps import Unit, map_denoiser
from gensweep.extras.interpret.intervention import (
    CHANGES,
    OFF,
    RANDOM_OFF,
    UNCHANGED,
    Intervention,
    drop,
    intervene,
    random_units,
)
from gensweep.extras.interpret.recording import evenly_spaced, reading_layers, record_path
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

N = 12


@torch.no_grad()
def test_known_unit_silences_its_label_alone():
    made = family()
    network, layers = made.networks["denoiser"], reading_layers(made.networks)
    noise = Noise(0, torch.arange(N))
    path, _ = record_path(made, noise, noise.samples % CLASSES, (1, SIZE, SIZE))
    chance = Noise(9, torch.arange(199))
    activation_map = map_denoiser(made, layers, evenly_spaced(path, 3), CLASSES, chance)

    def draw(labels):
        return to_uint8(made.sample(network, Noise(4, torch.arange(N)), labels))

    def classify(images):  # bright is LABEL, dark is all others alike
        bright = (images.double().mean(dim=(1, 2, 3)) > 128).double()
        scores = (1 - bright)[:, None].expand(-1, CLASSES) / (CLASSES - 1)
        return scores.index_put((torch.arange(N), torch.tensor(LABEL)), bright)

    units = activation_map.raised_units(LABEL, 5)
    assert units == [Unit(LAYER, UNIT)]
    own, others = torch.full((N,), LABEL), (LABEL + 1 + torch.arange(N) % (CLASSES - 1)) % CLASSES
    random = [Noise(0, torch.tensor([repeat])) for repeat in range(2)]
    done = intervene(units, own, others, layers, activation_map.widths, draw, classify, random)
    found = {each.change: each for each in done}
    assert [*found] == [*CHANGES]
    assert {change: float(each.measures["score"].mean()) for change, each in found.items()} == {
        UNCHANGED: 1.0,
        OFF: 0.0,
        RANDOM_OFF: 1.0,
        "doubled": 1.0,
    }
    measures = [each.measures for each in found.values()]
    assert all(torch.equal(each["agreement"], each["score"]) for each in measures)
    assert all(torch.equal(each["others_score"], torch.full((N,), 1 / (CLASSES - 1)).double()) for each in measures)
    assert torch.equal(draw(own)[:8], found[UNCHANGED].images)
    every = [*found.values()]
    assert drop(every, OFF, "score", relative_to=RANDOM_OFF) == drop(every, OFF, "score") == (1.0, 0.0)


def made(label, change, own, others):
    hits, rest = torch.tensor(own).double(), torch.tensor(others).double()
    measures = {"agreement": hits, "score": hits / 2, "others_agreement": rest, "others_score": rest / 2}
    return Intervention(label, change, 1, measures, torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


def test_losses_are_means_of_paired_differences_over_labels_and_images():
    found = [
        made(0, UNCHANGED, [1, 1, 0, 1], [1, 1, 1, 1]),
        made(0, OFF, [0, 0, 0, 1], [1, 0, 1, 1]),
        made(1, UNCHANGED, [1, 0, 0, 1], [0, 0, 0, 0]),
        made(1, OFF, [0, 1, 0, 1], [0, 0, 0, 0]),
    ]
    differences = torch.tensor([1.0, 1, 0, 0, 1, -1, 0, 0])
    assert drop(found, OFF, "agreement") == pytest.approx((0.25, float(differences.std()) / 8**0.5))
    assert drop(found, OFF, "score") == pytest.approx((0.125, float(differences.std()) / 8**0.5 / 2))
    assert drop(found, OFF, "others_agreement").mean == pytest.approx(1 / 8)
    assert drop(found, UNCHANGED, "score") == (0.0, 0.0)
    assert torch.isnan(torch.tensor(drop([made(0, c, [1], [1]) for c in (UNCHANGED, OFF)], OFF, "score").error))


def test_random_units_are_others_of_the_same_layers():
    widths = {"a": 6, "b": 4, "c": 9}
    units = [Unit("a", 1), Unit("a", 5), Unit("b", 0), Unit("b", 1), Unit("b", 2)]
    seen = set()
    for seed in range(30):
        picked = random_units(widths, units, Noise(seed, torch.arange(1)))
        assert [unit.layer for unit in picked] == ["a", "a", "b"]  # of b one other is left
        assert not {*picked} & {*units}
        assert len({*picked}) == len(picked)
        assert all(unit.index < widths[unit.layer] for unit in picked)
        seen |= {*picked}
    assert len(seen) == 4 + 1
