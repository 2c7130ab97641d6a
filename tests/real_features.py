"""Made-up real images, of which metrics see features only."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gensweep.metrics.moments import Moments


def features(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.1, 3, d)
    return torch.randn(n, d, generator=generator) * scale + 0.1 * seed


@dataclass(eq=False)
class MadeUp:
    """Stands in for `gensweep.metrics.real.Real`."""

    features: Tensor

    @property
    def moments(self) -> Moments:
        return Moments.of(self.features)
