"""Pipeline folders of diffusers."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DDIMScheduler, DDPMScheduler

from gensweep.extras.exporting.denoiser_twin import Twin, twin_of
from gensweep.extras.exporting.drawing_chain import DrawingChain
from gensweep.extras.exporting.pipeline_files.exact_scheduler import ExactScheduler
from gensweep.families.denoising import DenoisingFamily

#: How far an image may move by float32 tables of the schedulers of diffusers.
MAX_FLOAT32_ERROR = 1e-4
#: What the schedulers of diffusers call the variance of a step.
VARIANCE_TYPES = {"small": "fixed_small", "large": "fixed_large"}


def write_pipeline(family: DenoisingFamily, chain: DrawingChain, class_names: tuple[str, ...], folder: Path) -> bool:
    """Write a pipeline that draws the family's images along a chain; returns whether it brings code of its own.

    It brings none for a model without labels whose network and noise levels diffusers can hold.
    Raises ConfigError for a network that has no twin.
    """
    twin = twin_of(family, chain)
    standard = twin.is_standard and not family.classes and chain.float32_error() <= MAX_FLOAT32_ERROR
    network: Any = twin.network
    network.save_pretrained(folder / "unet")
    scheduler = _standard_scheduler(chain, twin) if standard else _exact_scheduler(chain, twin)
    scheduler.save_pretrained(folder / "scheduler")
    index: dict[str, Any] = {"_class_name": f"{type(scheduler).__name__.removesuffix('Scheduler')}Pipeline"}
    if not standard:
        _copy_code("exact_scheduler", folder / "scheduler")
        index["_class_name"] = "DDPMPipeline"
    if family.classes:
        _copy_code("labelled_pipeline", folder)
        index["_class_name"] = ["labelled_pipeline", "LabelledPipeline"]
        index["class_names"] = list(class_names)
        index["guidance_scale"] = family.guidance
        index["guided_timesteps"] = list(chain.guided(family.guidance_interval))
        index["num_inference_steps"] = len(chain)
    index["_diffusers_version"] = diffusers.__version__
    index["scheduler"] = ["diffusers" if standard else "exact_scheduler", type(scheduler).__name__]
    if twin.is_standard:
        index["unet"] = ["diffusers", "UNet2DModel"]
    else:
        _copy_code("tabulated_denoiser", folder / "unet")
        index["unet"] = ["tabulated_denoiser", "TabulatedDenoiser"]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    return not standard


def _standard_scheduler(chain: DrawingChain, twin: Twin) -> Any:
    settings = _settings(chain, twin)
    if chain.variance is None:
        return DDIMScheduler(**settings)
    return DDPMScheduler(**settings, variance_type=VARIANCE_TYPES[chain.variance])


def _exact_scheduler(chain: DrawingChain, twin: Twin) -> Any:
    variance = {"eta": chain.eta} if chain.variance is None else {"variance_type": VARIANCE_TYPES[chain.variance]}
    return ExactScheduler(**_settings(chain, twin), **variance)


def _settings(chain: DrawingChain, twin: Twin) -> dict[str, Any]:
    return {
        "num_train_timesteps": len(chain),
        "trained_betas": chain.betas().tolist(),
        "prediction_type": twin.prediction_type,
        "timestep_spacing": "trailing",
    }


def _copy_code(name: str, folder: Path) -> None:
    code = files("gensweep.extras.exporting.pipeline_files").joinpath(f"{name}.py").read_bytes()
    (folder / f"{name}.py").write_bytes(code)
