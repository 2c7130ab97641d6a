"""Changes in the images when the units of a label are switched off or doubled.

Shapes: n images, d of them shown, c units of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from gensweep.extras.interpret.activation_maps import Unit
from gensweep.extras.interpret.recording import scaling
from gensweep.noise import Noise

#: Labels (n,) -> uint8 images of samples 0..n-1, with the units' current factors.
Draw = Callable[[Tensor], Tensor]
#: Images (n, c, h, w), uint8 -> a classifier's label scores (n, k); the highest is its prediction.
Classify = Callable[[Tensor], Tensor]

UNCHANGED = "as it is"
OFF = "off"
RANDOM_OFF = "random off"
DOUBLED = "doubled"
#: Factor of the units; RANDOM_OFF applies it to other units of the same layers.
CHANGES = {UNCHANGED: 1.0, OFF: 0.0, RANDOM_OFF: 0.0, DOUBLED: 2.0}
#: Images per change to keep for a picture.
SHOWN_IMAGES = 8
#: From this number of labels a standard error is over labels, else over images.
MIN_LABELS_FOR_ERROR = 4


@dataclass(frozen=True, eq=False)
class Intervention:
    """Effect of one change on images of its label, and on images of the other labels.

    `measures` have a number per image: "agreement", 1 if it is classified as its label, else 0, and "score", the
    classifier's score of that label, which is finer; "others_agreement" and "others_score" are of the other labels.
    All changes use the same seeds, so image i of one is paired with image i of another.
    """

    label: int
    change: str
    units: int
    measures: Mapping[str, Float64[Tensor, " n"]]
    images: UInt8[Tensor, "d c h w"]


class Drop(NamedTuple):
    """A mean over labels and images, and its standard error."""

    mean: float
    error: float


def intervene(
    units: Sequence[Unit],
    own: Int[Tensor, " n"],
    others: Int[Tensor, " n"],
    layers: Mapping[str, nn.Module],
    widths: Mapping[str, int],
    draw: Draw,
    classify: Classify,
    random: Sequence[Noise],
) -> Iterator[Intervention]:
    """Apply every change of CHANGES to the units of a label in turn.

    Images are generated under `own`, the label, and under `others`.  Random units are drawn with each noise of
    `random`, and the results averaged.
    """

    def measure(units: Sequence[Unit], factor: float) -> tuple[dict[str, Tensor], Tensor]:
        with scaling(layers, unit_factors(widths, units, factor)):
            of_own, of_others = draw(own), draw(others)
        found = {}
        for prefix, images, labels in (("", of_own, own), ("others_", of_others, others)):
            scores = classify(images)
            found[f"{prefix}agreement"] = (scores.argmax(dim=1) == labels).double()
            found[f"{prefix}score"] = scores.gather(1, labels[:, None])[:, 0]
        return found, of_own[:SHOWN_IMAGES]

    for change, factor in CHANGES.items():
        sets = [[] if factor == 1 else list(units)]
        if change == RANDOM_OFF:
            sets = [random_units(widths, units, noise) for noise in random]
        measured, images = zip(*(measure(each, factor) for each in sets), strict=True)
        means = {key: torch.stack([each[key] for each in measured]).mean(dim=0) for key in measured[0]}
        yield Intervention(int(own[0]), change, len(sets[0]), means, images[0])


def drop(found: Sequence[Intervention], change: str, measure: str, *, relative_to: str = UNCHANGED) -> Drop:
    """How much a change lowers recognition compared with another one, over all labels.

    Differences are paired by image, as seeds are the same.
    """
    values = {(each.label, each.change): each.measures[measure] for each in found}
    differences = [value - values[label, change] for (label, other), value in values.items() if other == relative_to]
    means = torch.stack([each.mean() for each in differences])
    sample = means if len(means) >= MIN_LABELS_FOR_ERROR else torch.cat(differences)
    error = sample.std() / len(sample) ** 0.5 if len(sample) > 1 else torch.tensor(torch.nan)
    return Drop(float(means.mean()), float(error))


def random_units(widths: Mapping[str, int], units: Sequence[Unit], noise: Noise) -> list[Unit]:
    """The same number of random other units in each layer, from the first sample of the noise.

    A layer without enough other units gives all it has.
    """
    picked = []
    for stream, (layer, count) in enumerate(widths.items()):
        taken = {unit.index for unit in units if unit.layer == layer}
        free = [index for index in range(count) if index not in taken]
        if taken and free:
            order = noise.uniform(len(free), stream=stream)[0].argsort().tolist()
            picked += [Unit(layer, free[each]) for each in order[: len(taken)]]
    return picked


def unit_factors(widths: Mapping[str, int], units: Sequence[Unit], factor: float) -> dict[str, Float[Tensor, " c"]]:
    """Factors for `scaling` that multiply only these units."""
    factors: dict[str, Tensor] = {}
    for unit in units:
        factors.setdefault(unit.layer, torch.ones(widths[unit.layer]))[unit.index] = factor
    return factors
