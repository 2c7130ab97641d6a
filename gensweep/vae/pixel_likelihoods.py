"""What a decoder's outputs say about pixels: distributions of the 256 levels of each value, x = 2 level / 255 - 1.

The probability of a level is that of the interval around it; the first and the last are open to the outside.  So
log p is one of 256 values, never above 0, as bits per dimension need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from annotated_types import Interval, doc
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from gensweep.diffusion.gamma import wide
from gensweep.diffusion.likelihood import HALF_PIXEL_STEP, OUTERMOST_PIXEL, log_p_of_level
from gensweep.diffusion.variational import PIXEL_STEP
from gensweep.noise import Noise
from gensweep.registry import Registry

#: Below this the whole probability lies in one level, and gradients would vanish.  Source: Salimans et al. 2017 (code).
MIN_LOG_SCALE = -7.0
#: The logarithm of a shared deviation is this times a parameter.  Adam moves each parameter by about the learning rate,
#: which is right for weights; a logarithm that begins at 0 has to go to about -2, within the first hundreds of steps.
SHARED_DEVIATION_RATE = 10.0


@runtime_checkable
class PixelLikelihood(Protocol):
    """How a decoder's outputs, `outputs` channels of them, are read; a module, as it may have parameters of its own."""

    outputs: int

    def log_p(self, output: Float[Tensor, "b o h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Log p(x | z) of whole images, in nats."""
        ...

    def mean(self, output: Float[Tensor, "b o h w"]) -> Float[Tensor, "b c h w"]:
        """The mean image, which may leave [-1, 1] a little."""
        ...

    def draw(self, output: Float[Tensor, "b o h w"], noise: Noise, stream: int) -> Float[Tensor, "b c h w"]:
        """An image of the distribution, by this stream and the next one of the noise; it may leave [-1, 1]."""
        ...


#: Items are modules with positional (channels: int) and settings keyword-only.
PIXEL_LIKELIHOODS: Registry[Callable[[int], PixelLikelihood]] = Registry("pixel likelihood", package="gensweep.vae")


@PIXEL_LIKELIHOODS.register("gaussian")
class GaussianPixels(nn.Module):
    """A Gaussian around the decoder's image, whose standard deviation is learnt: one for all pixels, or one for each.

    Source: Rybkin et al. 2021, section 3 (shared); Kingma & Welling 2014, appendix C.2 (each pixel's).
    """

    def __init__(
        self,
        channels: int,
        *,
        deviation: Annotated[
            Literal["shared", "pixel"], doc("what has a standard deviation of its own: all pixels together, or each")
        ] = "shared",
    ) -> None:
        super().__init__()
        self.channels, shared = channels, deviation == "shared"
        self.outputs = channels if shared else 2 * channels
        self.shared = nn.Parameter(torch.zeros(())) if shared else None

    def log_p(self, output: Float[Tensor, "b o h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Log p(x | z) of whole images, in nats."""
        # In double precision, as single has no gradients some hundred deviations from the mean.
        log_p = log_p_of_level(wide(x), wide(self.mean(output)), wide(-self._log_deviation(output)).exp())
        return log_p.sum(dim=(1, 2, 3))

    def mean(self, output: Float[Tensor, "b o h w"]) -> Float[Tensor, "b c h w"]:
        """The decoder's image."""
        return output[:, : self.channels]

    def draw(self, output: Float[Tensor, "b o h w"], noise: Noise, stream: int) -> Float[Tensor, "b c h w"]:
        """The image with its noise."""
        mean = self.mean(output)
        return mean + self._log_deviation(output).exp() * noise.normal(*mean.shape[1:], stream=stream)

    def _log_deviation(self, output: Float[Tensor, "b o h w"]) -> Float[Tensor, "..."]:
        own = output[:, self.channels :] if self.shared is None else SHARED_DEVIATION_RATE * self.shared
        return own.clamp(min=MIN_LOG_SCALE)


@PIXEL_LIKELIHOODS.register("logistic_mixture")
class LogisticMixturePixels(nn.Module):
    """A mixture of logistic distributions for each pixel; a channel's mean depends on the channels before it.

    With s components, c channels and p = c (c - 1) / 2 pairs of them, the outputs of a pixel are s logits of the
    components, s c means, s c logarithms of scales, and s p coefficients.
    Source: Salimans et al. 2017 (PixelCNN++), sections 2.1 and 2.2.
    """

    def __init__(
        self,
        channels: int,
        *,
        components: Annotated[int, Interval(ge=1, le=100), doc("logistic distributions in the mixture")] = 5,
    ) -> None:
        super().__init__()
        self.channels, self.components = channels, components
        self.pairs = channels * (channels - 1) // 2
        self.outputs = components * (1 + 2 * channels + self.pairs)

    def log_p(self, output: Float[Tensor, "b o h w"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        """Log p(x | z) of whole images, in nats."""
        logits, means, log_scales, coefficients = self._parts(output)
        given = [x[:, None, channel] for channel in range(self.channels)]
        of_channels = [
            _log_p_logistic(given[channel], self._mean(channel, means, coefficients, given), log_scales[:, :, channel])
            for channel in range(self.channels)
        ]
        return (logits.log_softmax(dim=1) + sum(of_channels)).logsumexp(dim=1).sum(dim=(1, 2))

    def mean(self, output: Float[Tensor, "b o h w"]) -> Float[Tensor, "b c h w"]:
        """The mixture's mean: within a component, that of a channel follows from the means of those before."""
        logits, means, _, coefficients = self._parts(output)
        of_components: list[Tensor] = []
        for channel in range(self.channels):
            of_components.append(self._mean(channel, means, coefficients, of_components))
        return (logits.softmax(dim=1)[:, :, None] * torch.stack(of_components, dim=2)).sum(dim=1)

    def draw(self, output: Float[Tensor, "b o h w"], noise: Noise, stream: int) -> Float[Tensor, "b c h w"]:
        """A component for each pixel, by Gumbel's maximum, and the levels of its channels one after the other."""
        logits, means, log_scales, coefficients = self._parts(output)
        h, w = output.shape[2:]
        chosen = (logits - (-_open(noise.uniform(self.components, h, w, stream=stream)).log()).log()).argmax(1, True)
        u = _open(noise.uniform(self.channels, h, w, stream=stream + 1))
        drawn: list[Tensor] = []
        for channel in range(self.channels):
            mean = self._mean(channel, means, coefficients, [each[:, None] for each in drawn]).gather(1, chosen)[:, 0]
            scale = log_scales[:, :, channel].gather(1, chosen)[:, 0].exp()
            x = mean + scale * torch.logit(u[:, channel])
            # To its level, as those after it were taught to follow levels.
            drawn.append(((x.clamp(-1, 1) + 1) / PIXEL_STEP).round() * PIXEL_STEP - 1)
        return torch.stack(drawn, dim=1)

    def _parts(self, output: Float[Tensor, "b o h w"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (b s h w), means and logarithms of scales (b s c h w), coefficients (b s p h w)."""
        s, c, (b, _, h, w) = self.components, self.channels, output.shape
        logits, means, log_scales, coefficients = torch.split(output, [s, s * c, s * c, s * self.pairs], dim=1)
        return (
            logits,
            means.reshape(b, s, c, h, w),
            log_scales.reshape(b, s, c, h, w).clamp(min=MIN_LOG_SCALE),
            coefficients.tanh().reshape(b, s, self.pairs, h, w),
        )

    def _mean(
        self, channel: int, means: Tensor, coefficients: Tensor, before: list[Tensor]
    ) -> Float[Tensor, "b s h w"]:
        """Of one channel, given those before it."""
        first = channel * (channel - 1) // 2
        follows = (coefficients[:, :, first + other] * before[other] for other in range(channel))
        return sum(follows, means[:, :, channel])


def _log_p_logistic(
    x: Float[Tensor, "b #s h w"], mean: Float[Tensor, "b s h w"], log_scale: Float[Tensor, "b s h w"]
) -> Float[Tensor, "b s h w"]:
    """The log-probability of a pixel's level under a logistic distribution.

    With the interval's ends high > low in scales around the mean, s(high) - s(low) is
    s(high) s(-low) (1 - exp(low - high)), which loses no digits far from the mean.
    """
    precision = (-log_scale).exp()
    low, high = (x - HALF_PIXEL_STEP - mean) * precision, (x + HALF_PIXEL_STEP - mean) * precision
    below, above = F.logsigmoid(high), F.logsigmoid(-low)
    log_p = below + above + (-torch.expm1(-PIXEL_STEP * precision)).log()
    log_p = torch.where(x < -OUTERMOST_PIXEL, below, log_p)
    return torch.where(x > OUTERMOST_PIXEL, above, log_p)


def _open(u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Uniform numbers in [0, 1), multiples of 2^-24, moved into (0, 1)."""
    return (u + 2.0**-25).clamp(max=1 - 2.0**-24)
