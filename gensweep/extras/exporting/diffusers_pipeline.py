"""Pipeline folders of diffusers: a copy of a trained denoiser, and a scheduler with its noise levels.

The copy is a UNet2DModel if that can represent it, else a TabulatedDenoiser.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Coefficients
from gensweep.errors import ConfigError
from gensweep.extras.exporting.drawing_chain import DrawingChain
from gensweep.extras.exporting.pipeline_files.exact_scheduler import ExactScheduler
from gensweep.extras.exporting.pipeline_files.tabulated_denoiser import TabulatedDenoiser
from gensweep.families.denoising import DenoisingFamily
from gensweep.nn.diffusers_unet import twin_names, unet_options, uniform_options
from gensweep.nn.unet import Attention, UNet

M = TypeVar("M", bound=nn.Module)

#: diffusers' names of prediction types.
PREDICTION_TYPES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
#: Largest acceptable change of an image by diffusers' float32 tables.
MAX_FLOAT32_ERROR = 1e-4
#: diffusers' names of step variances.
VARIANCE_TYPES = {"small": "fixed_small", "large": "fixed_large"}


def write_pipeline(
    family: DenoisingFamily, chain: DrawingChain, class_names: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    """Write a pipeline that samples along a chain; returns values for its model card.

    It includes Python code unless diffusers can represent the network and noise levels of a model without labels.
    Raises ConfigError for a network that cannot be converted.
    """
    network: Any
    network, prediction_type = twin_of(family, chain)
    known = isinstance(network, UNet2DModel)
    standard = known and not family.classes and chain.float32_error() <= MAX_FLOAT32_ERROR
    code = {
        "labelled_pipeline.py": "diffusers has no pipeline for images of classes" if family.classes else "",
        "unet/tabulated_denoiser.py": "" if known else "its UNet2DModel cannot hold this network",
        "scheduler/exact_scheduler.py": "" if standard else "its schedulers hold their tables in float32",
    }
    stock = DDIMScheduler if chain.variance is None else DDPMScheduler
    settings: dict[str, Any] = {
        "num_train_timesteps": len(chain.sigmas),
        "trained_betas": chain.betas().tolist(),
        "prediction_type": prediction_type,
        "timestep_spacing": "trailing",
    }
    if chain.variance is not None:
        settings["variance_type"] = VARIANCE_TYPES[chain.variance]
    elif not standard:
        settings["eta"] = chain.eta
    scheduler = (stock if standard else ExactScheduler)(**settings)
    network.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    pipeline = f"{stock.__name__.removesuffix('Scheduler')}Pipeline"
    index: dict[str, Any] = {
        "_class_name": pipeline if standard else "DDPMPipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers" if standard else "exact_scheduler", type(scheduler).__name__],
        "unet": ["diffusers" if known else "tabulated_denoiser", type(network).__name__],
    }
    if family.classes:
        index |= {
            "_class_name": ["labelled_pipeline", "LabelledPipeline"],
            "class_names": list(class_names),
            "guidance_scale": family.guidance,
            "guided_timesteps": list(chain.guided(family.guidance_interval)),
            "num_inference_steps": len(chain.sigmas),
        }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    brought = {file: reason for file, reason in code.items() if reason}
    for file in brought:
        source = files("gensweep.extras.exporting.pipeline_files").joinpath(Path(file).name)
        (folder / file).write_bytes(source.read_bytes())
    return {"code": brought, "pipeline": pipeline, "guidance": family.guidance}


def twin_of(family: DenoisingFamily, chain: DrawingChain) -> tuple[nn.Module, str]:
    """The converted sampling network, and diffusers' name of its prediction type.

    Its timestep t is level t of the chain.
    Raises ConfigError for a network that is not a U-Net of gensweep.
    """
    network = family.plain(family.networks[family.sampled])
    if not isinstance(network, UNet):
        raise ConfigError(
            f"a network of the class {type(network).__name__} cannot be converted to diffusers, only unet without "
            "Fourier features; choose --to onnx or safetensors"
        )
    channels, size, _ = family.shape
    coefficients, sigma = family.parameterisation(chain.rising), chain.rising.float()  # float32 as in sampling
    time = family.parameterisation(sigma).time
    if time is None:
        time = family.process_of(family.networks[family.sampled]).network_time(sigma)
    prediction_type = _prediction_type(coefficients, chain.rising)
    arguments = unet_options(network) | {
        "sample_size": size,
        "time_embedding_type": "learned",
        # Placeholders that divide every number of channels; a TabulatedDenoiser sets the right ones.
        "norm_num_groups": 1,
        "attn_norm_num_groups": 1,
        "attention_head_dim": 1,
        "in_channels": channels,
        "out_channels": channels,
        "num_train_timesteps": len(time),
        "num_class_embeds": None if network.condition.label is None else network.condition.label.num_embeddings,
    }
    twin: Any
    if prediction_type is not None and (uniform := uniform_options(network)) is not None:
        if torch.equal(time, torch.arange(len(time), dtype=time.dtype)):
            uniform |= {"time_embedding_type": "positional", "num_train_timesteps": None}
        twin = inner = UNet2DModel(**arguments | uniform)
    else:
        twin = TabulatedDenoiser(
            unet=arguments,
            norm_groups={str(each.num_channels): each.num_groups for each in _all(network, nn.GroupNorm)},
            attention_heads={str(each.out.in_features): each.heads for each in _all(network, Attention)},
            preconditioned=0 if prediction_type else len(time),
            sample_size=size,
            in_channels=channels,
        )
        inner = twin.network
        if prediction_type is None:
            # diffusers' x_t equals sigma's times sqrt(alpha_bar) = 1 / sqrt(1 + sigma^2).
            unscaled = (1 + chain.rising.square()).sqrt()
            skip, out, into = (each.flatten() for each in coefficients[:3])
            twin.preconditioning.data.copy_(torch.stack([skip * unscaled, out, into * unscaled]))
    with torch.no_grad():
        for own, theirs in twin_names(network):
            for name, parameter in network.get_submodule(own).named_parameters():
                for target, part in zip(theirs, parameter.chunk(len(theirs)), strict=True):
                    inner.get_submodule(target).get_parameter(name).copy_(part)
        if isinstance(inner.time_proj, nn.Embedding):
            angles = time.float()[:, None] * network.condition.frequencies
            inner.time_proj.weight.copy_(torch.cat([angles.cos(), angles.sin()], dim=1))
    return twin.eval(), prediction_type or "sample"


def _prediction_type(found: Coefficients, sigma: Tensor) -> str | None:
    """Name of the prediction type in diffusers with these coefficients; None if it has none."""
    for kind, word in PREDICTION_TYPES.items():
        known = PARAMETERISATIONS[kind](sigma)
        if all(torch.equal(a, b) for a, b in zip(known[:3], found[:3], strict=True)):
            return word
    return None


def _all(network: nn.Module, kind: type[M]) -> list[M]:
    return [module for module in network.modules() if isinstance(module, kind)]
