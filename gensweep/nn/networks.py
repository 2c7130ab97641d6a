"""Registries of networks by name, and common checks for networks that double the image size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple, TypeAlias, TypeVar

from annotated_types import Interval, MultipleOf, doc
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

from gensweep.errors import ConfigError
from gensweep.nn.width import with_width
from gensweep.registry import Registry

M = TypeVar("M", bound=nn.Module)
#: Upper bounds of channels, grouped channels, and layers, against typing errors.
Width: TypeAlias = Annotated[int, Interval(ge=1, le=8192)]
GroupedWidth: TypeAlias = Annotated[int, Interval(ge=8, le=8192), MultipleOf(8)]
Count: TypeAlias = Annotated[int, Interval(ge=1, le=256)]

DenoiserWidth: TypeAlias = Annotated[GroupedWidth, doc("channels at full resolution")]
ImageWidth: TypeAlias = Annotated[Width, doc("channels next to the image, where there are fewest")]
Checkpointing: TypeAlias = Annotated[
    bool, doc("recompute blocks in the backward pass: less memory, equal gradients, 1/3 more work")
]
DropoutShare: TypeAlias = Annotated[
    float, Interval(ge=0, lt=1), doc("share of each residual block's features dropped in training")
]

#: Image sizes in pixels that networks support which start at 4 px and double.
IMAGE_SIZES = (8, 16, 32, 64, 128, 256)


class Adversaries(NamedTuple):
    """The two networks of a GAN.

    generator(z: Float[b latent], labels: Int[b] | None) -> images, Float[b c h w], in [-1, 1] in evaluation mode;
    discriminator(images: Float[b c h w], labels: Int[b] | None, time: Float[b] | None) -> logits, Float[b].
    """

    generator: nn.Module
    discriminator: nn.Module


class Autoencoder(NamedTuple):
    """The two networks of a variational autoencoder.

    encoder(images: Float[b c h w], labels: Int[b] | None) -> means and log-variances of the latents, Float[b 2*latent];
    decoder(z: Float[b latent], labels: Int[b] | None) -> input of a pixel likelihood, Float[b outputs h w].
    """

    encoder: nn.Module
    decoder: nn.Module


#: Items take (channels, size, classes, outputs), where classes = 0 means unconditional and outputs = None as many
#: channels out as in, and give a module with
#: forward(x: Float[b channels h w], time: Float[b], labels: Int[b] | None) -> Float[b outputs h w].  Time is in
#: [0, 1000) whatever the number of timesteps.  Label `classes`, one more than the last, stands for "no label".  A
#: network with a `layers.Conditioning` hands its times on as they are, so that they may be Float[b 2], with intervals.
DENOISERS: Registry[Callable[..., nn.Module]] = Registry("network", package="gensweep.nn", around=with_width)

#: Items take (channels, size, classes, latent, timed); the discriminator of a timed pair also takes times in
#: [0, 1000], how noisy its images are.
ADVERSARIES: Registry[Callable[..., Adversaries]] = Registry("GAN network", package="gensweep.nn", around=with_width)

#: Items take (channels, size, classes, latent, outputs), where outputs are the channels that the decoder gives, None as
#: many as images have; classes = 0 means unconditional.
AUTOENCODERS: Registry[Callable[..., Autoencoder]] = Registry("VAE network", package="gensweep.nn", around=with_width)


def check_doubling_size(kind: str, size: int) -> None:
    """Raise ConfigError unless the size is a power of two from 8 to 256."""
    if size not in IMAGE_SIZES:
        raise ConfigError(
            f"{kind}: images of {size} px are not supported; use one of {', '.join(map(str, IMAGE_SIZES))}"
        )


def spectrally_normalised(network: M) -> M:
    """The network with every weight matrix divided by its largest singular value, which each training pass follows.

    Source: Miyato et al. 2018, section 2.1 and appendix A (one power iteration a pass).
    """
    for module in [*network.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            if module.weight.is_meta:  # where each of its first power iterations would take milliseconds
                dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
                register_parametrization(module, "weight", _WeightlessSpectralNorm(module.weight, dim))
            else:
                spectral_norm(module)
    return network


class _WeightlessSpectralNorm(nn.Module):
    """Shapes of PyTorch's version, for a weight without values, which stays unchanged."""

    def __init__(self, weight: Tensor, dim: int) -> None:
        super().__init__()
        rows = weight.shape[dim]
        self.register_buffer("_u", weight.new_empty(rows))
        self.register_buffer("_v", weight.new_empty(weight.numel() // rows))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight."""
        return weight
