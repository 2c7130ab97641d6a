"""Pipeline folders of diffusers."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DDIMScheduler, DDPMScheduler

from gensweep.extras.exporting.denoiser_twin import twin_of
from gensweep.extras.exporting.drawing_chain import DrawingChain
from gensweep.extras.exporting.pipeline_files.exact_scheduler import ExactScheduler
from gensweep.families.denoising import DenoisingFamily

#: How far an image may move by float32 tables of the schedulers of diffusers.
MAX_FLOAT32_ERROR = 1e-4
#: What the schedulers of diffusers call the variance of a step.
VARIANCE_TYPES = {"small": "fixed_small", "large": "fixed_large", "learned": "learned_range"}


def write_pipeline(
    family: DenoisingFamily, chain: DrawingChain, class_names: tuple[str, ...], folder: Path
) -> dict[str, Any]:
    """Write a pipeline that draws the family's images along a chain; returns values for its model card.

    It brings `code` of its own, unless diffusers can hold the network and noise levels of a model without labels.
    Raises ConfigError for a network that has no twin.
    """
    twin = twin_of(family, chain)
    network: Any = twin.network
    standard = twin.is_standard and not family.classes and chain.float32_error() <= MAX_FLOAT32_ERROR
    code = {
        "labelled_pipeline.py": "diffusers has no pipeline for images of classes" if family.classes else "",
        "unet/tabulated_denoiser.py": "" if twin.is_standard else "its UNet2DModel cannot hold this network",
        "scheduler/exact_scheduler.py": "" if standard else "its schedulers hold their tables in float32",
    }
    stock = DDIMScheduler if chain.variance is None else DDPMScheduler
    settings: dict[str, Any] = {
        "num_train_timesteps": len(chain),
        "trained_betas": chain.betas().tolist(),
        "prediction_type": twin.prediction_type,
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
        "unet": ["diffusers" if twin.is_standard else "tabulated_denoiser", type(network).__name__],
    }
    if family.classes:
        index |= {
            "_class_name": ["labelled_pipeline", "LabelledPipeline"],
            "class_names": list(class_names),
            "guidance_scale": family.guidance,
            "guided_timesteps": list(chain.guided(family.guidance_interval)),
            "num_inference_steps": len(chain),
        }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    brought = {file: reason for file, reason in code.items() if reason}
    for file in brought:
        source = files("gensweep.extras.exporting.pipeline_files").joinpath(Path(file).name)
        (folder / file).write_bytes(source.read_bytes())
    return {"code": brought, "pipeline": pipeline, "guidance": family.guidance}
