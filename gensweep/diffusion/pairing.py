"""Which noise each image of a batch is paired with in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import scipy  # optimize takes a fifth of a second to import, and is imported when it is used
import torch
from jaxtyping import Float, Int
from torch import Tensor

from gensweep.registry import Registry


class Pairing(Protocol):
    """`min_batch` is the smallest batch that there is anything to pair in; 1 if images do not look at each other."""

    min_batch: ClassVar[int]

    def __call__(
        self, images: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, " b"]:
        """The index of the noise that each image of a whole batch is paired with, each noise once."""
        ...


#: Items are classes with settings keyword-only.
PAIRINGS: Registry[Callable[..., Pairing]] = Registry("pairing", package="gensweep.diffusion")


@PAIRINGS.register("independent")
class Independent:
    """Each image with noise of its own.  Source: Lipman et al. 2023."""

    min_batch: ClassVar[int] = 1

    def __call__(
        self, images: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, " b"]:
        """The noise of the same index."""
        return torch.arange(len(images), device=images.device)


@PAIRINGS.register("optimal_transport")
class OptimalTransport:
    """Images with the noise nearest to them, so that the sum of squared distances in the batch is the least.

    Paths then cross less, and the flow is straighter.  Images of one label exchange their noise among themselves only:
    across labels, the noise of a label would no longer be normal, and samples start from noise that is.
    Source: Tong et al. 2024, section 3.2 (minibatch optimal transport).
    """

    min_batch: ClassVar[int] = 2

    def __call__(
        self, images: Float[Tensor, "b c h w"], eps: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Int[Tensor, " b"]:
        """The exact solution, by the Hungarian method, on the CPU."""
        # |x - eps|^2 = |x|^2 + |eps|^2 - 2 x eps, of which only the last part depends on the pairs.
        gain = (images.flatten(1) @ eps.flatten(1).T).double().cpu()
        group = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels.cpu()
        order = torch.empty_like(group)
        for label in set(group.tolist()):
            members = (group == label).nonzero()[:, 0]
            _, chosen = scipy.optimize.linear_sum_assignment(gain[members][:, members].numpy(), maximize=True)
            order[members] = members[torch.from_numpy(chosen)]
        return order.to(images.device)
