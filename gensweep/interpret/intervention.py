"""What changes in the images if the units found for a label are switched off or turned up.

Shapes: n images, k labels, c units of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gensweep.interpret.atlas import Unit
from gensweep.noise import Noise

__all__ = ["factors_of", "matched"]

#: The stream that picks units at random.
PICK = 1


def matched(widths: Mapping[str, int], units: Sequence[Unit], noise: Noise) -> list[Unit]:
    """As many units of each layer, picked at random among its others: what any units of these layers would do.

    One sample of the noise is used.  A layer of which more than half is taken gives the others that it has.
    """
    picked = []
    for place, (layer, width) in enumerate(widths.items()):
        taken = {unit.index for unit in units if unit.layer == layer}
        free = [index for index in range(width) if index not in taken]
        if taken and free:
            order = noise.uniform(len(free), stream=PICK + place)[0].argsort().tolist()
            picked += [Unit(layer, free[each]) for each in order[: len(taken)]]
    return picked


def factors_of(widths: Mapping[str, int], units: Sequence[Unit], factor: float) -> dict[str, Float[Tensor, " c"]]:
    """What `scaling` takes to multiply these units, and no other."""
    factors: dict[str, Tensor] = {}
    for unit in units:
        factors.setdefault(unit.layer, torch.ones(widths[unit.layer]))[unit.index] = factor
    return factors
