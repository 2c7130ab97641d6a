"""A denoiser that was trained with gensweep, for a diffusers pipeline; it needs torch and diffusers, not gensweep."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin, UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn
from torch.nn import functional as F


class TabulatedDenoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A U-Net or a plain CNN whose time features, and what scales its input and output, are tables by timestep.

    `unet` are the arguments of a UNet2DModel, or `cnn` those of DilatedCNN.  Group norms and attention have as many
    groups and heads as `norm_groups` and `attention_heads` say for a number of channels.  For each n of
    `fourier_exponents` the network also sees sin(2^n pi x) and cos(2^n pi x) of its input x.  If it is
    `preconditioned`, it predicts the image: skip x_t + out F(into x_t), of the mean if it predicts a variance, too.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sample_size: int,
        in_channels: int,
        unet: dict[str, Any] | None = None,
        cnn: dict[str, Any] | None = None,
        norm_groups: dict[str, int] | None = None,
        attention_heads: dict[str, int] | None = None,
        fourier_exponents: tuple[int, ...] = (),
        preconditioned: int = 0,
    ) -> None:
        super().__init__()
        self.network: nn.Module = DilatedCNN(**(cnn or {})) if unet is None else UNet2DModel(**unet)
        for module in self.network.modules():
            if isinstance(module, nn.GroupNorm):
                module.num_groups = (norm_groups or {})[str(module.num_channels)]
            elif isinstance(module, Attention):
                channels = module.to_q.out_features
                module.heads = (attention_heads or {})[str(channels)]
                module.scale = (channels / module.heads) ** -0.5
        #: Rows are skip, out and into.
        self.preconditioning = nn.Parameter(torch.ones(3, preconditioned), requires_grad=False)

    def forward(
        self, sample: Tensor, timestep: Tensor | int, class_labels: Tensor | None = None, return_dict: bool = True
    ) -> Any:
        """The network's prediction from images x_t at a timestep; of a labelled model, for these labels."""
        t = torch.as_tensor(timestep, device=sample.device).expand(len(sample))
        skip = out = into = None
        x = sample
        if self.config.preconditioned:
            skip, out, into = self.preconditioning[:, t].view(3, -1, 1, 1, 1)
            x = into * x
        waves = [wave(2**n * math.pi * x) for n in self.config.fourier_exponents for wave in (torch.sin, torch.cos)]
        output = self.network(torch.cat([x, *waves], dim=1), t, class_labels, return_dict=False)[0]
        if skip is not None:
            mean, variance = output[:, : x.shape[1]], output[:, x.shape[1] :]
            output = torch.cat([skip * sample + out * mean, variance], dim=1)
        return UNet2DOutput(sample=output) if return_dict else (output,)


class DilatedCNN(nn.Module):
    """Residual blocks at full resolution, each of a dilation, with a scale and a shift by time and label inside."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        dilations: tuple[int, ...],
        num_train_timesteps: int,
        num_class_embeds: int | None = None,
    ) -> None:
        super().__init__()
        self.time_proj = nn.Embedding(num_train_timesteps, width)
        self.time = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, 4 * width))
        self.label = nn.Embedding(num_class_embeds, 4 * width) if num_class_embeds else None
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(DilatedBlock(width, dilation) for dilation in dilations)
        self.norm = nn.GroupNorm(1, width)
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None, return_dict: bool = False) -> tuple[Tensor]:
        """As UNet2DModel without `return_dict`."""
        condition = self.time(self.time_proj(t))
        if self.label is not None:
            condition = condition + self.label(labels)
        condition = F.silu(condition)
        x = self.first(x)
        for block in self.blocks:
            x = block(x, condition)
        return (self.last(F.silu(self.norm(x))),)


class DilatedBlock(nn.Module):
    """Two convolutions, twice as wide in between, beside a skip connection."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.enter_norm = nn.GroupNorm(1, width)
        self.enter = nn.Conv2d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.norm = nn.GroupNorm(1, 2 * width)
        self.scale_shift = nn.Linear(4 * width, 4 * width)
        self.leave = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """The images, changed as the condition says."""
        scale, shift = self.scale_shift(condition)[:, :, None, None].chunk(2, dim=1)
        h = self.norm(self.enter(F.silu(self.enter_norm(x)))) * (1 + scale) + shift
        return x + self.leave(F.silu(h))  # type: ignore[no-any-return]
