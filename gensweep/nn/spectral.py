"""Spectral normalisation of a whole network."""

from __future__ import annotations

from typing import TypeVar

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

__all__ = ["spectrally_normalised"]

M = TypeVar("M", bound=nn.Module)


def spectrally_normalised(network: M) -> M:
    """The network with every weight matrix divided by its largest singular value, which each training pass follows.

    Source: Miyato et al. 2018, section 2.1 and appendix A (one power iteration a pass).
    """
    for module in [*network.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            spectral_norm(module)
    return network
