"""Pipeline folders of diffusers that draw images from noise, and from class labels if they take them."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from gensweep.errors import ConfigError, GensweepError
from gensweep.extras.imported.command import PIPELINE_FILE
from gensweep.extras.imported.exported import image_seeds
from gensweep.files import file_sha256, parse_json
from gensweep.metrics.extractors import to_uint8

#: Arguments of a pipeline that are given here, or that say how to return images.
GIVEN = ("batch_size", "class_labels", "generator", "output_type", "return_dict")


class DiffusersPipeline:
    """Images of a pipeline; image i of a key has a seed of its own, whatever the batch.

    `call` are further arguments, such as num_inference_steps.  A pipeline that takes class_labels gets them, `classes`
    of them unless it names its own.  Code in the folder is executed if it is trusted; nothing is unpickled.
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
            raise ConfigError(f"--call {unknown[0]}: {kind} takes {', '.join(own)}")
        if needed := [name for name, each in own.items() if each.default is each.empty and name not in self.call]:
            raise ConfigError(
                f"{folder}: {kind} needs {', '.join(needed)}, so it does not draw from noise and labels alone; give "
                f"what it needs with --call {needed[0]}=VALUE"
            )
        if classes is not None and "class_labels" not in takes:
            raise ConfigError(f"--classes {classes}: {kind} takes no class_labels; leave it out")
        self.classes = classes
        if classes is None and "class_labels" in takes:
            names = self._pipeline.config.get("class_names")
            if names is None:
                raise ConfigError(f"{folder}: it draws images of classes; say how many it knows: --classes K")
            self.classes = len(names)
        levels = getattr(getattr(self._pipeline, "scheduler", None), "config", {}).get("num_train_timesteps")
        usual = takes["num_inference_steps"].default if "num_inference_steps" in takes else None
        if levels is not None and isinstance(usual, int) and usual > levels:
            self.call.setdefault("num_inference_steps", levels)
        networks = [each for each in self._pipeline.components.values() if isinstance(each, torch.nn.Module)]
        self.params = sum(parameter.numel() for network in networks for parameter in network.parameters())

    @property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, for the record."""
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
        except Exception as error:  # the code of somebody else raises what it likes
            cause = str(error).partition("\n")[0] or type(error).__name__
            raise GensweepError(
                f"{self.folder}: the pipeline does not draw ({cause}); --call KEY=VALUE changes how"
            ) from None
        images = torch.as_tensor(raw).movedim(-1, 1).float().to(self.device)
        if not images.isfinite().all():
            raise GensweepError(f"{self.folder}: the pipeline draws NaN or infinite values, which have no score")
        return to_uint8(2 * images - 1)


def _load(folder: Path, device: torch.device, *, trusted: bool) -> Any:
    if importlib.util.find_spec("diffusers") is None:
        raise ConfigError(f"{folder}: diffusers, which it needs, is missing; type: pip install 'gensweep[export]'")
    if not trusted and (code := next(folder.rglob("*.py"), None)) is not None:
        raise ConfigError(
            f"{folder}: the pipeline brings code ({code.relative_to(folder)}): to load it is to run that, with all "
            "that you may do; add --trust if you trust those who made it"
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
    except Exception as error:  # files, code: what can go wrong has no common type
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"{folder}: diffusers cannot load it ({cause}); save it with save_pretrained") from None
