"""What changes in the images if the units found for a label are switched off or turned up.

Shapes: n images, d of them shown, c units of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from gensweep.interpret.atlas import Unit
from gensweep.interpret.recording import scaling
from gensweep.noise import Noise

__all__ = [
    "AS_IT_IS",
    "CHANGES",
    "OFF",
    "RANDOM",
    "Intervention",
    "Lost",
    "Recognised",
    "Task",
    "factors_of",
    "intervene",
    "lost",
    "matched",
]

#: Labels (n,) -> the images of samples 0..n-1 under them, uint8, drawn with the units as they are at the time.
Draw = Callable[[Tensor], Tensor]
#: Images (n, c, h, w), uint8 -> a classifier's scores of the labels (n, k); the highest is what it takes an image for.
Judge = Callable[[Tensor], Tensor]

#: What is done to units, and the factor that does it; "random" does it to others of the same layers.
AS_IT_IS, OFF, RANDOM, DOUBLED = "as it is", "off", "random off", "doubled"
CHANGES = {AS_IT_IS: 1.0, OFF: 0.0, RANDOM: 0.0, DOUBLED: 2.0}
#: Images of each change that are kept for a picture.
SHOWN = 8
#: From so many labels on, they say how sure a mean over all is; of fewer, images do.
MANY = 4


class Recognised(NamedTuple):
    """Whether each image is taken for its label, 0 to 1, and the classifier's score of that label, which is finer."""

    hits: Float64[Tensor, " n"]
    scores: Float64[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Intervention:
    """What one change did to images of its label, and to images of the other ones.

    All changes have the same seeds, so image i of one is to be compared with image i of another.
    """

    label: int
    change: str
    units: int
    own: Recognised
    others: Recognised
    images: UInt8[Tensor, "d c h w"]


class Lost(NamedTuple):
    """A mean over labels and images, and its standard error, over labels if there are MANY, else over images."""

    mean: float
    error: float


@dataclass(frozen=True, eq=False)
class Task:
    """A label and the units found for it; `n` images are drawn under it and `n` under the others in turn.

    Units at random are drawn `repeats` times, each time others, and their results averaged.
    """

    label: int
    units: Sequence[Unit]
    classes: int
    n: int
    repeats: int
    seed: int


def intervene(
    task: Task, layers: Mapping[str, nn.Module], widths: Mapping[str, int], draw: Draw, judge: Judge
) -> Iterator[Intervention]:
    """Every change of CHANGES, one after the other."""
    own = torch.full((task.n,), task.label)
    others = (task.label + 1 + torch.arange(task.n) % (task.classes - 1)) % task.classes

    def look(units: Sequence[Unit], factor: float) -> tuple[Recognised, Recognised, Tensor]:
        with scaling(layers, factors_of(widths, units, factor)):
            images, rest = draw(own), draw(others)
        return _recognised(judge(images), own), _recognised(judge(rest), others), images[:SHOWN]

    for change, factor in CHANGES.items():
        if change == RANDOM:
            chance = [Noise(task.seed, torch.tensor([repeat])) for repeat in range(task.repeats)]
            sets = [matched(widths, task.units, noise) for noise in chance]
        else:
            sets = [list(task.units)] if factor != 1 else [[]]
        mine, rest, images = zip(*(look(units, factor) for units in sets), strict=True)
        yield Intervention(task.label, change, len(sets[0]), _mean(mine), _mean(rest), images[0])


def lost(
    found: Sequence[Intervention],
    change: str,
    *,
    than: str = AS_IT_IS,
    of: Literal["own", "others"] = "own",
    by: Literal["hits", "scores"] = "hits",
) -> Lost:
    """How much worse images are recognised under a change than under another one, over all labels.

    Image by image, as their seeds are the same; `of` says which images: of the label itself, or of the other ones.
    """
    values = {(each.label, each.change): getattr(getattr(each, of), by) for each in found}
    differences = [worse - values[label, change] for (label, other), worse in values.items() if other == than]
    means = torch.stack([each.mean() for each in differences])
    sample = means if len(means) >= MANY else torch.cat(differences)
    error = sample.std() / len(sample) ** 0.5 if len(sample) > 1 else torch.tensor(torch.nan)
    return Lost(float(means.mean()), float(error))


def matched(widths: Mapping[str, int], units: Sequence[Unit], noise: Noise) -> list[Unit]:
    """As many units of each layer, picked at random among its others: what any units of these layers would do.

    One sample of the noise is used.  A layer of which more than half is taken gives the others that it has.
    """
    picked = []
    for stream, (layer, width) in enumerate(widths.items()):
        taken = {unit.index for unit in units if unit.layer == layer}
        free = [index for index in range(width) if index not in taken]
        if taken and free:
            order = noise.uniform(len(free), stream=stream)[0].argsort().tolist()
            picked += [Unit(layer, free[each]) for each in order[: len(taken)]]
    return picked


def factors_of(widths: Mapping[str, int], units: Sequence[Unit], factor: float) -> dict[str, Float[Tensor, " c"]]:
    """What `scaling` takes to multiply these units, and no other."""
    factors: dict[str, Tensor] = {}
    for unit in units:
        factors.setdefault(unit.layer, torch.ones(widths[unit.layer]))[unit.index] = factor
    return factors


def _recognised(scores: Float64[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Recognised:
    return Recognised((scores.argmax(dim=1) == labels).double(), scores.gather(1, labels[:, None])[:, 0])


def _mean(each: Sequence[Recognised]) -> Recognised:
    return Recognised(*(torch.stack(values).mean(dim=0) for values in zip(*each, strict=True)))
