"""Where training starts: random weights, or a trained model.  `trial` is a trial as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias, get_args

from annotated_types import doc
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gensweep.data.images import Images
from gensweep.errors import ConfigError, GensweepError
from gensweep.families.family import Family
from gensweep.files import file_sha256, parse_json
from gensweep.nn.diffusers_unet import from_diffusers
from gensweep.registry import Registry
from gensweep.results import Unit
from gensweep.training.adapters import ADAPTER_FILE
from gensweep.training.checkpoint import load_tensors, read, verify

Weights: TypeAlias = Mapping[str, Mapping[str, Tensor]]
"""Weights by network and tensor name."""

#: Subclasses of `Start` with keyword-only settings.  One based on a trained model names it in `base`.
STARTS: Registry[type[Start]] = Registry("start", package=__name__)


@STARTS.register("scratch")
@dataclass(frozen=True, kw_only=True)
class Start:
    """Random weights, and the classes of the data set."""

    searchable: ClassVar[bool] = True
    """False if trials inherit settings from it, so that a space cannot choose it."""

    @classmethod
    def prepare(cls, sweep: Any) -> Any:
        """The sweep with inherited settings.  Raises ConfigError if they do not fit."""
        return sweep

    def recorded(self) -> dict[str, Any]:
        """Settings to fill in when a trial is sampled."""
        return {}

    def images(self, trial: Mapping[str, Any], images: Images) -> Images:
        """Images with the labels of the trial's model."""
        return images

    def weights(self) -> Weights | None:
        """Initial weights.  Raises GensweepError if they changed since the run began."""
        return None

    def family(self, build: Callable[[int], Family], classes: int, weights: Weights | None) -> Family:
        """The family from `build` for a number of classes, with these weights."""
        return build(classes)

    def writer(self, trial: Mapping[str, Any], images: Images) -> Callable[[nn.Module, Path], None] | None:
        """A function that writes further files next to the weights of the trained model."""
        return None


#: Files of a UNet2DModel in a folder of diffusers.
UNET_CONFIG = "config.json"
UNET_WEIGHTS = "diffusion_pytorch_model.safetensors"
#: Differences shown in a message.
MOST_SHOWN = 4


@STARTS.register("weights")
@dataclass(frozen=True, kw_only=True)
class FromWeights(Start):
    """The weights of a trained model whose names and shapes fit; the others are random, and the optimizer is new."""

    base: Annotated[str, doc("a run, a checkpoint, or a folder of diffusers with a UNet2DModel")]
    sha256: Annotated[str | None, doc("hash of the base's file; filled in when the run starts")] = None
    base_images: Annotated[int | None, doc("training images of the base, if known; filled in")] = None
    base_flops: Annotated[float | None, doc("FLOPs of the base's training, if known; filled in")] = None
    base_device_seconds: Annotated[float | None, doc("device-seconds of that training, if known; filled in")] = None

    def recorded(self) -> dict[str, Any]:
        """The hash of the base, and the costs of its training if known.

        Raises GensweepError if it is missing or damaged, or changed since the run began.
        """
        folder, found = Path(self.base), dict[str, Any]()
        if (folder / UNET_CONFIG).is_file():
            try:
                load_file(file := folder / UNET_WEIGHTS)
                found["sha256"] = file_sha256(file)
            except (OSError, SafetensorError) as error:
                raise GensweepError(f"{file} cannot be read ({error}); save the model again") from None
        else:
            checkpoint, units = verify(folder), get_args(Unit)
            if (folder / ADAPTER_FILE).exists():
                raise GensweepError(f"{folder} has low-rank updates; merge them: gensweep export RUN --to safetensors")
            found["sha256"], cost = checkpoint.sha256, checkpoint.metrics
            earlier = checkpoint.metadata.get("start", {f"base_{unit}": 0 for unit in units})
            for unit in units:
                if unit in cost and earlier.get(f"base_{unit}") is not None:
                    found[f"base_{unit}"] = cost[unit] + earlier[f"base_{unit}"]
        if self.sha256 not in (None, found["sha256"]):
            raise GensweepError(
                f"the weights of {self.base} have changed from {self.sha256[:12]} to {found['sha256'][:12]}; "
                "start a new run, without start.sha256"
            )
        return found

    def weights(self) -> Weights:
        """The base's weights by network.  Raises GensweepError as `recorded` does."""
        folder = Path(self.base)
        self.recorded()
        if (folder / UNET_CONFIG).is_file():
            return {UNET_CONFIG: load_file(folder / UNET_WEIGHTS)}
        weights: dict[str, dict[str, Tensor]] = {}
        # The sampling weights come last, in place of their network's raw ones.
        for prefix in ("networks/", read(folder).weights):
            for name, tensor in load_tensors(folder, prefix).items():
                _, network, key = name.split("/", 2)
                weights.setdefault(network, {})[key] = tensor
        return weights

    def family(self, build: Callable[[int], Family], classes: int, weights: Weights | None) -> Family:
        """The family with the weights that fit."""
        family = build(classes)
        if weights is not None:
            self.copy_fitting(family, weights)
        return family

    def copy_fitting(self, family: Family, weights: Weights) -> list[str]:
        """Copy the weights that fit to a family; returns a line about the others.

        Raises ConfigError if fewer than half of the parameters fit.
        """
        if UNET_CONFIG in weights:
            options, network = parse_json((Path(self.base) / UNET_CONFIG).read_text()), family.networks[family.sampled]
            weights = {family.sampled: from_diffusers(network, options, weights[UNET_CONFIG])}
        taken, total, fresh = 0, 0, list[str]()
        for name, network in family.networks.items():
            own, given = network.state_dict(), weights.get(name, {})
            fits = {key: given[key] for key in own if key in given and given[key].shape == own[key].shape}
            network.load_state_dict(fits, strict=False)
            taken += sum(each.numel() for each in fits.values())
            total += sum(each.numel() for each in own.values())
            fresh += [f"{name}/{key} ({_shape(own[key])}, {_shape(given.get(key))})" for key in own if key not in fits]
        shown = ", ".join(fresh[:MOST_SHOWN]) + (", ..." if len(fresh) > MOST_SHOWN else "")
        if 2 * taken < total:
            raise ConfigError(
                f"start.base: only {100 * taken / total:.0f} % of the parameters fit {self.base}; different, as (shape "
                f"here, there): {shown}; use the network settings of the base"
            )
        return [f"random at the start, as (shape here, in {self.base}): {shown}"] if fresh else []


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else "x".join(map(str, tensor.shape))
