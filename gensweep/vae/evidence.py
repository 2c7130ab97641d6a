"""The evidence of an image under a latent-variable model, bounded from below with a Gaussian posterior q(z | x).

The prior is N(0, I).  All values are in nats, log p and log q those of whole images.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor

#: A latent unit whose mean divergence from the prior is less than this, in nats, says nothing about images.
MIN_INFORMATION = 0.01


class Posterior(NamedTuple):
    """A Gaussian with independent units, q(z | x)."""

    mean: Float[Tensor, "b latent"]
    log_variance: Float[Tensor, "b latent"]

    @classmethod
    def of(cls, encoded: Float[Tensor, "b outputs"]) -> Posterior:
        """From the encoder's 2 x latent outputs, in float32."""
        return cls(*encoded.float().chunk(2, dim=1))

    def at(self, eps: Float[Tensor, "b latent"]) -> Float[Tensor, "b latent"]:
        """The latents that standard normal numbers become.  Source: Kingma & Welling 2014, section 2.4."""
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
    """Each unit's mean over the images of all workers, which call this together; it has no gradient."""
    sums = torch.cat([divergence.detach().sum(dim=0), divergence.new_full((1,), len(divergence))])
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)
    return sums[:-1] / sums[-1]


def with_free_bits(
    divergence: Float[Tensor, "b latent"], mean: Float[Tensor, " latent"], free: float
) -> Float[Tensor, " b"]:
    """The divergence of each image, where a unit whose mean over the batch is less than `free` nats counts as that.

    So what a unit says about images costs nothing up to there.  The batch's mean of it, and that mean's gradient, are
    those of sum_j max(free, mean_j).  Source: Kingma et al. 2016, eq. 15.
    """
    paid: Bool[Tensor, " latent"] = mean > free
    return torch.where(paid, divergence, free).sum(dim=1)
