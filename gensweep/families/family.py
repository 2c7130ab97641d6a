"""The protocol between the training loop and a model family.

A family defines networks, losses and sampling.  The loop handles devices, precision, data-parallel wrapping, gradients,
clipping, warm-up and averaging.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Annotated, NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from annotated_types import doc
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

from gensweep.data.loader import LoadedBatch
from gensweep.diffusion.samplers.sampler import Denoise, Levels, Sampler
from gensweep.families.optimizers import RateSchedule
from gensweep.noise import Noise
from gensweep.registry import Registry

Conditional: TypeAlias = Annotated[bool, doc("generate images by class; false ignores labels")]


class Batch(NamedTuple):
    """One rank's share of a training batch: images in [-1, 1], labels, and the random numbers of these positions.

    `total` is the number of images in the batch over all ranks; a batch begins at each multiple of it, and `step`
    batches came before this one.  `loaded` returns the images of all ranks and parts, if these are not all.  This is
    one of several `parts` of a rank's share; the losses of all parts are alive at once.
    """

    images: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    noise: Noise
    total: int
    step: int = 0
    loaded: Callable[[], LoadedBatch] | None = None
    parts: int = 1

    def whole(self) -> LoadedBatch:
        """All images of the batch, over all ranks and parts."""
        return LoadedBatch(self.images, self.labels, self.noise.samples) if self.loaded is None else self.loaded()


class Loss(NamedTuple):
    """A loss of one network, a scalar mean over the rank's images; `update` steps the network's optimizer after it.

    It is computed in the first of `every` steps.  `signals` are further means over the rank's images, for the log.
    """

    network: str
    value: Float[Tensor, ""]
    name: str
    update: bool = True
    every: int = 1
    signals: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})


@runtime_checkable
class Family(Protocol):
    """A model family.  `networks` are not wrapped; `sampled` names the one used for sampling.

    `memories` are modules with buffers that change in training without gradients; they are saved and restored.
    A class may have `of_training`: keys of settings and sections that do not affect the samples of a trained model.
    `classes` is 0 if labels are ignored.  Learning rates are those of `optimizers()` times `rate_schedule`; gradients
    of each network are clipped to the norm `clip`, unless it is None.
    """

    networks: dict[str, nn.Module]
    memories: dict[str, nn.Module]
    sampled: str
    classes: int
    rate_schedule: RateSchedule
    clip: float | None

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """A fresh optimizer for each network, by the network's name."""

    def losses(self, networks: Mapping[str, nn.Module], batch: Batch) -> Iterator[Loss]:
        """Yield the losses of one step; the caller backpropagates and updates before it requests the next one.

        `networks` are the family's, wrapped for data-parallel training if there are several ranks.
        """

    def sample(self, network: nn.Module, noise: Noise, labels: Int[Tensor, " n"] | None) -> Float[Tensor, "n c h w"]:
        """Draw an image in [-1, 1] for each sample of the noise, with a network like `networks[sampled]`.

        Labels are needed if there are classes.
        """


@runtime_checkable
class Denoising(Family, Protocol):
    """A family that denoises step by step, so that sampling can also start from an image."""

    process: Levels
    sampler: Sampler

    def denoise(self, network: nn.Module, labels: Int[Tensor, " n"] | None) -> Denoise:
        """A network like `networks[sampled]` as a denoiser of images with these labels, guided as set."""


@runtime_checkable
class Encoding(Family, Protocol):
    """A family that draws an image from latents like noise, and finds the latents of an image."""

    def prior(self, noise: Noise) -> Float[Tensor, "n latent"]:
        """The latents from which `sample` draws."""

    def encode(
        self, network: nn.Module, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b latent"]:
        """The likeliest latents of images of these labels, with a network like `networks[sampled]`."""

    def decode(
        self, network: nn.Module, latents: Float[Tensor, "n latent"], noise: Noise, labels: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n c h w"]:
        """Images of latents; `prior` and this give `sample`."""


class BoundPoints(NamedTuple):
    """Number of noise levels or latents per image for a bound; a family uses one of them.

    `levels` noise levels are drawn without bias of the mean; None uses all.  `latents`, at least 1, are drawn from the
    posterior of a latent-variable model; more make the bound tighter.
    """

    levels: int | None
    latents: int


@runtime_checkable
class Likelihood(Protocol):
    """A family with a bound on the likelihood of an image, which bits per dimension measure."""

    def bits_per_dim(
        self,
        network: nn.Module,
        images: Float[Tensor, "b c h w"],
        labels: Int[Tensor, " b"] | None,
        noise: Noise,
        points: BoundPoints,
    ) -> Float64[Tensor, " b"]:
        """A bound from above on -log2 p(image) per dimension, for images of 256 levels, x = 2 level / 255 - 1.

        `network` is like `networks[sampled]`, in evaluation mode and float32.  Labels are needed if there are classes;
        there is no guidance.  `noise.samples` identifies the images, and each value depends only on its own image.
        """


@runtime_checkable
class MixedCost(Protocol):
    """A family that does more work for some training images than for others."""

    def by_cost(self) -> Sequence[tuple[float, Family]]:
        """Families that do the same work for every image, each with its share of the images."""


@runtime_checkable
class Annealed(Protocol):
    """A family that changes its optimizers in training, beyond the schedule of learning rates."""

    def anneal(self, optimizers: Mapping[str, torch.optim.Optimizer], images: int) -> None:
        """Set the optimizers for the step that ends after this number of training images.

        Learning rates are already set by the schedule; everything else is as the last call left it.
        """


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode and without gradients; it returns to its former mode."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(training)


#: Items are classes with positional (channels, size, classes: int) and settings keyword-only.  Parameters that are a
#: `Choice` or a `Section` are sections of a trial's YAML, the others keys of `family`.
FAMILIES: Registry[Callable[..., Family]] = Registry("family", package="gensweep.families")
