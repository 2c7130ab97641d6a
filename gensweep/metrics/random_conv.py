"""Features of a network with random weights: they depend on no other data."""

from __future__ import annotations

from pathlib import Path

import torch

from gensweep.data.images import Images
from gensweep.metrics.domain import seeded, small_extractor, small_network
from gensweep.metrics.extractors import EXTRACTORS, Extractor


@EXTRACTORS.register("random_conv")
def random_conv(device: torch.device | str, cache: Path, images: Images | None = None) -> Extractor:
    """128 features of the network of `domain` before its training.

    Source: Naeem et al. 2020, section 4.2, with a larger network.
    """
    with seeded():
        return small_extractor("random_conv", small_network().to(device))
