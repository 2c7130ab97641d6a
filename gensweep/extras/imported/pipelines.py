"""Pipeline folders of diffusers that generate images from noise, with optional class labels."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from gensweep.data.picture_decoding import squared
from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.imported.command import PIPELINE_FILE
from gensweep.files import file_sha256, parse_json
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

#: Pipeline arguments set here, or that select the output format.
GIVEN = ("batch_size", "class_labels", "generator", "output_type", "return_dict")
#: Random stream of the images' seeds.
SEED_STREAM = 1


class DiffusersPipeline:
    """Images of a pipeline; image i of a key has its own seed, independent of the batch.

    `call` are further arguments, such as num_inference_steps.  A pipeline with class_labels gets labels of `classes`
    classes, unless it names its own.  Code in the folder runs only if trusted; nothing is unpickled.
    Raises ConfigError if diffusers is missing, the folder cannot be loaded, or an argument is unknown or missing.
    """

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        *,
        trusted: bool = False,
        classes: int | None = None,
        call: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.device, self.call, self.trusted = folder, device, dict(call or {}), trusted
        self._pipeline = _load(folder, device, trusted=trusted)
        kind, takes = type(self._pipeline).__name__, inspect.signature(self._pipeline.__call__).parameters
        own = {name: each for name, each in takes.items() if name not in GIVEN}
        if unknown := [name for name in self.call if name not in own]:
            raise ConfigError(f"--call {unknown[0]}: unknown; {kind} accepts {', '.join(own)}")
        if needed := [name for name, each in own.items() if each.default is each.empty and name not in self.call]:
            raise ConfigError(
                f"{folder}: {kind} needs more than noise and labels: {', '.join(needed)}; add --call {needed[0]}=VALUE"
            )
        if classes is not None and "class_labels" not in takes:
            raise ConfigError(f"--classes {classes}: {kind} has no class_labels; leave it out")
        self.classes = classes
        if classes is None and "class_labels" in takes:
            names = self._pipeline.config.get("class_names")
            if names is None:
                raise ConfigError(f"{folder} is class-conditional; give its number of classes: --classes K")
            self.classes = len(names)
        levels = getattr(getattr(self._pipeline, "scheduler", None), "config", {}).get("num_train_timesteps")
        usual = takes["num_inference_steps"].default if "num_inference_steps" in takes else None
        if levels is not None and isinstance(usual, int) and usual > levels:
            self.call.setdefault("num_inference_steps", levels)
        networks = [each for each in self._pipeline.components.values() if isinstance(each, torch.nn.Module)]
        self.params = sum(parameter.numel() for network in networks for parameter in network.parameters())

    @property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, for the log."""
        files = sorted(file for file in self.folder.rglob("*") if file.suffix in (".safetensors", ".json", ".py"))
        digest = hashlib.sha256("".join(map(file_sha256, files)).encode())
        return {
            "kind": "pipeline",
            "path": str(self.folder.resolve()),
            "sha256": digest.hexdigest(),
            "pipeline": type(self._pipeline).__name__,
            "call": self.call,
            "classes": self.classes,
            "trusted": self.trusted,
        }

    def draw(self, key: int, indices: Int[Tensor, " n"], labels: Int[Tensor, " n"] | None) -> UInt8[Tensor, "n c h w"]:
        """Images of these indices.  Raises GensweepError if the pipeline fails, and for NaN."""
        given = {"batch_size": len(indices)} if labels is None else {"class_labels": labels.tolist()}
        try:
            generators = [torch.Generator().manual_seed(seed) for seed in image_seeds(key, indices)]
            raw = self._pipeline(**given, **self.call, generator=generators, output_type="np").images
        except Exception as error:  # foreign code may raise anything
            cause = str(error).partition("\n")[0] or type(error).__name__
            raise GensweepError(
                f"{self.folder}: the pipeline failed ({cause}); change its arguments with --call KEY=VALUE"
            ) from None
        images = torch.as_tensor(raw).movedim(-1, 1).float().to(self.device)
        if not images.isfinite().all():
            raise GensweepError(f"{self.folder}: the pipeline returned NaN or infinite values, which have no score")
        return to_uint8(2 * images - 1)


def image_seeds(key: int, indices: Int[Tensor, " n"]) -> list[int]:
    """Seeds for generators of other programs, 0 <= seed < 2^62: one per image of a key."""
    high, low = Noise(key, indices).integers(2**31, 2, stream=SEED_STREAM).cpu().unbind(1)
    return (high << 31 | low).tolist()


def resized_pictures(images: UInt8[Tensor, "n c h w"], size: int) -> UInt8[Tensor, "n c size size"]:
    """Central squares of images at another size, resized like pictures in files."""
    rows = [squared(to_pil_image(picture), size, images.shape[1]) for picture in images.cpu()]
    return torch.from_numpy(np.stack(rows)).to(images.device)


def _load(folder: Path, device: torch.device, *, trusted: bool) -> Any:
    if importlib.util.find_spec("diffusers") is None:
        raise ConfigError(f"{folder} needs diffusers; run: pip install 'gensweep[export]'")
    if not trusted and (code := next(folder.rglob("*.py"), None)) is not None:
        raise ConfigError(
            f"{folder} contains code ({code.relative_to(folder)}), and loading it runs that with your permissions; "
            "add --trust if you trust its authors"
        )
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    try:
        parse_json((folder / PIPELINE_FILE).read_text())
        pipeline = DiffusionPipeline.from_pretrained(
            folder, trust_remote_code=trusted, local_files_only=True, use_safetensors=True
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)
    except Exception as error:  # file and code errors have no common type
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"{folder}: diffusers cannot load it ({cause}); save it with save_pretrained") from None
