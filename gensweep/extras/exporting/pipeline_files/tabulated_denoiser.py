"""A denoiser trained with gensweep, for a diffusers pipeline; it needs torch and diffusers, not gensweep."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn


class TabulatedDenoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A U-Net with time features, input scales and output scales from tables by timestep.

    `unet` are arguments of a UNet2DModel.  `norm_groups` and `attention_heads` are group and head counts by number of
    channels.  If `preconditioned`, it predicts the image, skip x_t + out F(into x_t), or its mean if it also predicts a
    variance.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int,
        in_channels: int,
        unet: dict[str, Any],
        norm_groups: dict[str, int],
        attention_heads: dict[str, int],
        preconditioned: int = 0,
    ) -> None:
        super().__init__()
        self.network = UNet2DModel(**unet)
        for module in self.network.modules():
            if isinstance(module, nn.GroupNorm):
                module.num_groups = norm_groups[str(module.num_channels)]
            elif isinstance(module, Attention):
                channels = module.to_q.out_features
                module.heads = attention_heads[str(channels)]
                module.scale = (channels / module.heads) ** -0.5
        #: Rows are skip, out and into.
        self.preconditioning = nn.Parameter(torch.ones(3, preconditioned), requires_grad=False)

    def forward(
        self, sample: Tensor, timestep: Tensor | int, class_labels: Tensor | None = None, return_dict: bool = True
    ) -> Any:
        """The network's prediction from images x_t at a timestep, with labels if it has any."""
        t = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        if self.config.preconditioned:
            skip, out, into = self.preconditioning[:, t].view(3, -1, 1, 1, 1)
            output = self.network(into * sample, t, class_labels, return_dict=False)[0]
            mean, variance = output[:, : sample.shape[1]], output[:, sample.shape[1] :]
            output = torch.cat([skip * sample + out * mean, variance], dim=1)
        else:
            output = self.network(sample, t, class_labels, return_dict=False)[0]
        return UNet2DOutput(sample=output) if return_dict else (output,)
