"""DDPM and DDIM with tables in double precision, for diffusers; it needs torch and diffusers, not gensweep."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_ddpm import DDPMSchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class ExactScheduler(DDPMScheduler):  # type: ignore[misc]
    """DDPMScheduler with float64 tables; with an `eta`, it takes DDIM steps.

    In float32, alpha_bar of a low noise level rounds to 1 or so close to it that steps go wrong.  Predicted images
    are clipped to [-1, 1]; DDIM derives the noise from the clipped image.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        trained_betas: list[float] | None = None,
        prediction_type: str = "epsilon",
        variance_type: str = "fixed_small",
        eta: float | None = None,
        timestep_spacing: str = "trailing",
    ) -> None:
        super().__init__(
            num_train_timesteps,
            trained_betas=trained_betas,
            prediction_type=prediction_type,
            variance_type=variance_type,
            timestep_spacing=timestep_spacing,
        )
        self.betas = torch.tensor(trained_betas, dtype=torch.float64)
        self.alphas = 1 - self.betas
        self.alphas_cumprod = torch.log1p(-self.betas).cumsum(0).exp()

    def step(
        self,
        model_output: Tensor,
        timestep: int,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> Any:
        """The images at the next timestep.  Source of DDIM: Song et al. 2021, eq. 12 and 16."""
        if self.config.eta is None:
            return super().step(model_output, timestep, sample, generator=generator, return_dict=return_dict)
        before = self.previous_timestep(timestep)
        left = self.alphas_cumprod[timestep]
        left_before = self.alphas_cumprod[before] if before >= 0 else torch.ones_like(left)
        x_0 = self._image(model_output, sample, left).clamp(-1, 1)
        variance = self.config.eta**2 * (1 - left_before) / (1 - left) * (1 - left / left_before)
        eps = (sample - left.sqrt() * x_0) / (1 - left).sqrt()
        x = left_before.sqrt() * x_0 + (1 - left_before - variance).clamp(min=0).sqrt() * eps
        if variance > 0:
            noise = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
            x = x + variance.sqrt() * noise
        return DDPMSchedulerOutput(prev_sample=x, pred_original_sample=x_0) if return_dict else (x, x_0)

    def _image(self, output: Tensor, sample: Tensor, left: Tensor) -> Tensor:
        """The image that the network's output predicts, with x_t = sqrt(left) x_0 + sqrt(1 - left) eps."""
        if self.config.prediction_type == "epsilon":
            return (sample - (1 - left).sqrt() * output) / left.sqrt()
        return output if self.config.prediction_type == "sample" else left.sqrt() * sample - (1 - left).sqrt() * output
