"""What changes in the images when the units found for a label are switched off or doubled.

Shapes: n images, d of them shown, c units of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from gensweep.extras.interpret.activation_maps import Unit
from gensweep.extras.interpret.recording import scaling
from gensweep.noise import Noise

#: Labels (n,) -> the images of samples 0..n-1 under them, uint8, drawn with the units as they are at the time.
Draw = Callable[[Tensor], Tensor]
#: Images (n, c, h, w), uint8 -> a classifier's scores of the labels (n, k); the highest is its prediction.
Classify = Callable[[Tensor], Tensor]
#: Images of the label itself, or of the other labels.
Of = Literal["own", "others"]
#: Parts of a Recognition.
By = Literal["hits", "scores"]

UNCHANGED = "as it is"
OFF = "off"
RANDOM_OFF = "random off"
DOUBLED = "doubled"
#: The factor of the units; RANDOM_OFF applies it to other units of the same layers.
CHANGES = {UNCHANGED: 1.0, OFF: 0.0, RANDOM_OFF: 0.0, DOUBLED: 2.0}
#: Images of each change that are kept for a picture.
SHOWN_IMAGES = 8
#: With at least this many labels a standard error is over labels, else over images.
MIN_LABELS_FOR_ERROR = 4


class Recognition(NamedTuple):
    """Whether each image is taken for its label, 0 or 1, and the classifier's score of that label, which is finer."""

    hits: Float64[Tensor, " n"]
    scores: Float64[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Intervention:
    """What one change did to images of its label, and to images of the other labels.

    All changes use the same seeds, so image i of one is paired with image i of another.
    """

    label: int
    change: str
    units: int
    own: Recognition
    others: Recognition
    images: UInt8[Tensor, "d c h w"]

    def values(self, of: Of, by: By) -> Float64[Tensor, " n"]:
        """Hits or scores of images of the label itself or of the other labels."""
        values: Tensor = getattr(getattr(self, of), by)
        return values


class Drop(NamedTuple):
    """A mean over labels and images, and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True, eq=False)
class Task:
    """A label and the units found for it; `n` images are drawn under it and `n` under the others in turn.

    Random units are drawn `repeats` times, and the results averaged.
    """

    label: int
    units: Sequence[Unit]
    classes: int
    n: int
    repeats: int
    seed: int


def intervene(
    task: Task, layers: Mapping[str, nn.Module], widths: Mapping[str, int], draw: Draw, classify: Classify
) -> Iterator[Intervention]:
    """Every change of CHANGES, one after the other."""
    own = torch.full((task.n,), task.label)
    others = (task.label + 1 + torch.arange(task.n) % (task.classes - 1)) % task.classes

    def recognise(units: Sequence[Unit], factor: float) -> tuple[Recognition, Recognition, Tensor]:
        with scaling(layers, unit_factors(widths, units, factor)):
            of_own, of_others = draw(own), draw(others)
        return _recognition(classify(of_own), own), _recognition(classify(of_others), others), of_own[:SHOWN_IMAGES]

    for change, factor in CHANGES.items():
        if change == RANDOM_OFF:
            seeds = [Noise(task.seed, torch.tensor([repeat])) for repeat in range(task.repeats)]
            sets = [random_units(widths, task.units, noise) for noise in seeds]
        else:
            sets = [list(task.units)] if factor != 1 else [[]]
        of_own, of_others, images = zip(*(recognise(units, factor) for units in sets), strict=True)
        yield Intervention(task.label, change, len(sets[0]), _mean(of_own), _mean(of_others), images[0])


def drop(
    found: Sequence[Intervention], change: str, *, relative_to: str = UNCHANGED, of: Of = "own", by: By = "hits"
) -> Drop:
    """How much worse images are recognised under a change than under another one, over all labels.

    Differences are taken image by image, as seeds are the same.
    """
    values = {(each.label, each.change): each.values(of, by) for each in found}
    differences = [value - values[label, change] for (label, other), value in values.items() if other == relative_to]
    means = torch.stack([each.mean() for each in differences])
    sample = means if len(means) >= MIN_LABELS_FOR_ERROR else torch.cat(differences)
    error = sample.std() / len(sample) ** 0.5 if len(sample) > 1 else torch.tensor(torch.nan)
    return Drop(float(means.mean()), float(error))


def random_units(widths: Mapping[str, int], units: Sequence[Unit], noise: Noise) -> list[Unit]:
    """As many units of each layer, drawn at random from its others; the first sample of the noise is used.

    A layer of which more than half is taken gives all the others that it has.
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
    """The factors for `scaling` that multiply these units and no others."""
    factors: dict[str, Tensor] = {}
    for unit in units:
        factors.setdefault(unit.layer, torch.ones(widths[unit.layer]))[unit.index] = factor
    return factors


def _recognition(scores: Float64[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Recognition:
    return Recognition((scores.argmax(dim=1) == labels).double(), scores.gather(1, labels[:, None])[:, 0])


def _mean(each: Sequence[Recognition]) -> Recognition:
    return Recognition(*(torch.stack(values).mean(dim=0) for values in zip(*each, strict=True)))
