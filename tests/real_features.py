"""Made-up real images, of which metrics see features only."""

import torch
from torch import Tensor

from gensweep.metrics.moments import Moments
from gensweep.metrics.probe import Classifier, fit_classifier
from gensweep.metrics.real import Real, nearest


def features(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.1, 3, d)
    return torch.randn(n, d, generator=generator) * scale + 0.1 * seed


class MadeUp(Real):
    """Real images of which only these features are known."""

    class_names: tuple[str, ...] = ()

    def __init__(self, features: Tensor, class_names: tuple[str, ...] = ("a", "b")) -> None:
        self.features, self.class_names = features, class_names

    @property
    def moments(self) -> Moments:
        return Moments.of(self.features)

    @property
    def labels(self) -> Tensor:
        return torch.arange(len(self.features)) % len(self.class_names)

    def unseen(self) -> None:
        return None

    def classifier(self) -> Classifier:
        return fit_classifier(self.features, self.labels, len(self.class_names))

    def distances(self) -> Tensor:
        return nearest(self.features)[0][:, 0]

    def pixels(self, positions: Tensor) -> Tensor:
        return positions.to(torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
