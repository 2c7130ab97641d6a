"""Batches from a data set that stays on the training device as uint8.

Training reads an endless stream of images, each epoch a fresh permutation of the data set.  Positions in the stream are
counted in images.  Randomness depends only on the seed and the position, so batch size, number of workers and restarts
do not change the stream.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from gensweep.data.images import Images
from gensweep.noise import Noise

#: Random stream of the order of images, separate from those of families and samplers, which share seed and positions.
ORDER_STREAM = 1 << 30
#: Random stream that selects images to mirror.
FLIP_STREAM = ORDER_STREAM + 1


class LoadedBatch(NamedTuple):
    """One rank's part of a batch: images in [-1, 1], labels, and positions in the stream."""

    images: Float[Tensor, "b c h w"]
    labels: Int64[Tensor, " b"]
    positions: Int64[Tensor, " b"]


class Loader:
    """An endless, shuffled stream of a data set, on one device.

    `seed` decides the order of every epoch and which images are mirrored.
    """

    def __init__(self, images: Images, *, seed: int, device: torch.device | str = "cpu") -> None:
        self.seed = seed
        self.flip = images.flip
        self.pixels = images.pixels.to(device)
        self.labels = images.labels.to(device)
        self._epochs = range(0)
        self._order = self.labels[:0]

    def batch(self, position: int, batch_size: int, rank: int = 0, world: int = 1) -> LoadedBatch:
        """A rank's contiguous share of the global batch that begins at `position` of the stream.

        A pure function of its arguments: the shares of all ranks, in order, equal the batch of a single rank.
        """
        start, stop = (position + batch_size * share // world for share in (rank, rank + 1))
        positions = torch.arange(start, stop, device=self.pixels.device)
        index = self._index(start, stop)
        pixels = self.pixels.index_select(0, index)
        if self.flip:
            mirrored = Noise(self.seed, positions).uniform(1, 1, 1, stream=FLIP_STREAM) < 0.5
            pixels = torch.where(mirrored, pixels.flip(-1), pixels)
        images = pixels.to(torch.float32).div_(127.5).sub_(1)
        return LoadedBatch(images, self.labels.index_select(0, index), positions)

    def _index(self, start: int, stop: int) -> Int64[Tensor, " b"]:
        """Indices of the images at positions start..stop-1."""
        n = len(self.labels)
        epochs = range(start // n, max(start // n + 1, -(-stop // n)))
        # Cached: most batches use the same epochs as the batch before.
        if not (epochs.start in self._epochs and epochs[-1] in self._epochs):
            self._epochs, self._order = epochs, self._permutations(epochs)
        first = self._epochs.start * n
        return self._order[start - first : stop - first]

    def _permutations(self, epochs: range) -> Int64[Tensor, " b"]:
        """Order of some epochs: each position draws a number, and each epoch is sorted by these."""
        n = len(self.labels)
        positions = torch.arange(epochs.start * n, epochs.stop * n, device=self.labels.device)
        numbers = Noise(self.seed, positions).integers(2**31, stream=ORDER_STREAM)
        return numbers.view(-1, n).argsort(dim=1, stable=True).flatten()
