"""The panel: measures of different kinds that score the same images, for a second look at a verdict."""

from __future__ import annotations

from typing import NamedTuple

#: Generated images of the panel, or fewer if the evaluations have fewer.
PANEL_SAMPLES = 1000


class Measure(NamedTuple):
    """A metric of the features of an extractor with its default settings; measures of one `kind` have one vote.

    A measure that does not vote is only shown.  Differences up to `margin` do not count.
    """

    metric: str
    extractor: str
    kind: str
    votes: bool = True
    margin: float = 0.0

    @property
    def name(self) -> str:
        """Its name, such as "fd:domain"."""
        return f"{self.metric}:{self.extractor}"


PANEL = (
    Measure("fd", "efficientnet_lite0", "ImageNet features"),
    Measure("kid", "efficientnet_lite0", "ImageNet features"),
    Measure("fd", "inception", "ImageNet features"),
    Measure("fd", "efficientnet_lite0_layout", "layout"),
    Measure("fd", "domain", "domain features"),
    Measure("energy", "domain", "domain features"),
    Measure("fd", "dinov2", "self-supervised features"),
    Measure("coverage", "efficientnet_lite0", "coverage", margin=0.02),
    Measure("agreement", "domain", "labels", margin=0.02),
    Measure("memorised", "efficientnet_lite0", "copies", margin=0.1),
    # Noise may have a high density, and random features rank models differently from people (Naeem et al. 2020).
    Measure("density", "efficientnet_lite0", "density", votes=False),
    Measure("fd", "random_conv", "random features", votes=False),
)
