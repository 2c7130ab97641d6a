"""A diffusers pipeline for class-conditional images, with or without guidance; needs torch and diffusers only."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class LabelledPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Class-conditional images from a denoiser and a scheduler, such as the ExactScheduler in the same folder.

    The label after the last class means "no label".  These are the defaults of a call: the scale of classifier-free
    guidance (1: none), the range of `guided_timesteps` (the last one excluded), and the number of steps.
    """

    model_cpu_offload_seq = "unet"

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        class_names: list[str] | None = None,
        guidance_scale: float = 1.0,
        guided_timesteps: list[int] | None = None,
        num_inference_steps: int = 1000,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(
            class_names=class_names or [],
            guidance_scale=guidance_scale,
            guided_timesteps=guided_timesteps or [0, num_inference_steps],
            num_inference_steps=num_inference_steps,
        )

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int | None = None,
        class_labels: int | str | list[int] | list[str] | Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        output_type: str | None = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Images of these classes, by number or name; without classes, all in turn.

        One class applies to all `batch_size` images.  `output_type` is "pil", "np" or "pt", the latter two in [0, 1].
        """
        labels = self._labels(class_labels, batch_size)
        config, size = self.unet.config, self.unet.config.sample_size
        shape = (len(labels), config.in_channels, size, size)
        x = randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.unet.dtype)
        scale = self.config.guidance_scale if guidance_scale is None else guidance_scale
        first, last = self.config.guided_timesteps
        self.scheduler.set_timesteps(num_inference_steps or self.config.num_inference_steps)
        for t in self.progress_bar(self.scheduler.timesteps):
            output = self._predict(x, t, labels, scale if first <= t < last else 1.0)
            x = self.scheduler.step(output, t, x, generator=generator).prev_sample
        images: Any = (x / 2 + 0.5).clamp(0, 1)
        if output_type != "pt":
            images = images.cpu().permute(0, 2, 3, 1).numpy()
            if output_type == "pil":
                images = self.numpy_to_pil(images)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _predict(self, x: Tensor, t: Tensor, labels: Tensor, scale: float) -> Tensor:
        nothing = torch.full_like(labels, len(self.config.class_names))
        if scale in (0, 1):
            return self.unet(x, t, labels if scale else nothing).sample  # type: ignore[no-any-return]
        without, within = self.unet(torch.cat([x, x]), t, torch.cat([nothing, labels])).sample.chunk(2)
        channels = x.shape[1]
        mixed = torch.lerp(without[:, :channels], within[:, :channels], scale)
        return torch.cat([mixed, within[:, channels:]], dim=1)

    def _labels(self, given: Any, batch_size: int | None) -> Tensor:
        names = list(self.config.class_names)
        if given is None:
            given = [i % len(names) for i in range(batch_size or len(names))]
        elif isinstance(given, int | str):
            given = [given] * (batch_size or 1)
        if batch_size not in (None, len(given)):
            raise ValueError(f"{len(given)} class_labels were given for a batch_size of {batch_size}")
        found = [names.index(each) if isinstance(each, str) else int(each) for each in given]
        if not all(0 <= label <= len(names) for label in found):
            raise ValueError(f"class_labels must be in 0..{len(names)}, where {len(names)} means no label; got {found}")
        return torch.tensor(found, device=self._execution_device)
