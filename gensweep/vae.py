"""The training bound of variational autoencoders, and the pixel distribution of a decoder's output.

It bounds the evidence of an image from below, with a Gaussian posterior q(z | x) and the prior N(0, I).  All values
are in nats; log p and log q refer to whole images.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from annotated_types import doc
from jaxtyping import Bool, Float
from torch import Tensor, nn

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.likelihood import log_p_of_level
from gensweep.noise import Noise

#: A latent unit whose mean divergence from the prior is below this, in nats, carries no information.
MIN_INFORMATION = 0.01
#: Below this, one level has all of the probability and gradients would vanish.  Source: Salimans et al. 2017 (code).
MIN_LOG_DEVIATION = -7.0
#: The logarithm of a shared deviation is this times a parameter.  Adam moves each parameter by about the learning rate,
#: which suits weights; but the logarithm must move from 0 to about -2 within the first hundreds of steps.
SHARED_DEVIATION_RATE = 10.0

Deviation: TypeAlias = Annotated[
    Literal["shared", "pixel"], doc("one standard deviation for all pixels, or one for each")
]


class Posterior(NamedTuple):
    """A Gaussian with independent units, q(z | x)."""

    mean: Float[Tensor, "b latent"]
    log_variance: Float[Tensor, "b latent"]

    @classmethod
    def of(cls, encoded: Float[Tensor, "b outputs"]) -> Posterior:
        """From the encoder's 2 x latent outputs, in float32."""
        return cls(*encoded.float().chunk(2, dim=1))

    def at(self, eps: Float[Tensor, "b latent"]) -> Float[Tensor, "b latent"]:
        """Latents from standard normal numbers.  Source: Kingma & Welling 2014, section 2.4."""
        return self.mean + (self.log_variance / 2).exp() * eps

    def divergence(self) -> Float[Tensor, "b latent"]:
        """KL(q(z_j | x) || N(0, 1)) of each unit.  Source: Kingma & Welling 2014, appendix B."""
        return (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance) / 2

    def log_prior_ratio(self, eps: Float[Tensor, "b latent"]) -> Float[Tensor, " b"]:
        """Log p(z) - log q(z | x) for z = at(eps)."""
        return ((eps.square() + self.log_variance - self.at(eps).square()) / 2).sum(dim=1)


def log_evidence(log_weights: Float[Tensor, "k b"]) -> Float[Tensor, " b"]:
    """The importance-weighted bound on log p(x) of k weights log p(x | z) + log p(z) - log q(z | x).

    log 1/k sum_k w_k; with k = 1 it is an estimate of the ELBO, and its mean rises with k towards log p(x).
    Source: Burda et al. 2016, eq. 8 and theorem 1.
    """
    return log_weights.logsumexp(dim=0) - math.log(len(log_weights))


def mean_over_workers(divergence: Float[Tensor, "b latent"]) -> Float[Tensor, " latent"]:
    """Each unit's mean over the images of all workers, which call this together; without gradient."""
    sums = torch.cat([divergence.detach().sum(dim=0), divergence.new_full((1,), len(divergence))])
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)
    return sums[:-1] / sums[-1]


def with_free_bits(
    divergence: Float[Tensor, "b latent"], mean: Float[Tensor, " latent"], free: float
) -> Float[Tensor, " b"]:
    """The divergence of each image, where a unit whose batch mean is below `free` nats counts as `free`.

    Up to there, information in a unit costs nothing.  The batch mean and its gradient belong
    to sum_j max(free, mean_j).  Source: Kingma et al. 2016, eq. 15.
    """
    paid: Bool[Tensor, " latent"] = mean > free
    return torch.where(paid, divergence, free).sum(dim=1)


class GaussianPixels(nn.Module):
    """A Gaussian around the decoder's image, with a learned standard deviation: one for all pixels, or one for each.

    The probability of one of the 256 levels of a value, x = 2 level / 255 - 1, is that of the interval around it, open
    at the ends.  So log p is never above 0, as bits per dimension require.
    Source: Rybkin et al. 2021, section 3 (shared); Kingma & Welling 2014, appendix C.2 (each pixel's).
    """

    def __init__(self, channels: int, deviation: Deviation) -> None:
        super().__init__()
        self.channels, shared = channels, deviation == "shared"
        self.outputs = channels if shared else 2 * channels
        self.shared = nn.Parameter(torch.zeros(())) if shared else None

    def log_p(self, output: Float[Tensor, "b o h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Log p(x | z) of whole images, in nats."""
        # In double precision: in single, gradients vanish some hundred deviations from the mean.
        log_p = log_p_of_level(wide(x), wide(self.mean(output)), wide(-self._log_deviation(output)).exp())
        return log_p.sum(dim=(1, 2, 3))

    def mean(self, output: Float[Tensor, "b o h w"]) -> Float[Tensor, "b c h w"]:
        """The decoder's image, which may exceed [-1, 1] a little."""
        return output[:, : self.channels]

    def draw(self, output: Float[Tensor, "b o h w"], noise: Noise, stream: int) -> Float[Tensor, "b c h w"]:
        """The image with added noise."""
        mean = self.mean(output)
        return mean + self._log_deviation(output).exp() * noise.normal(*mean.shape[1:], stream=stream)

    def _log_deviation(self, output: Float[Tensor, "b o h w"]) -> Float[Tensor, "..."]:
        own = output[:, self.channels :] if self.shared is None else SHARED_DEVIATION_RATE * self.shared
        return own.clamp(min=MIN_LOG_DEVIATION)
