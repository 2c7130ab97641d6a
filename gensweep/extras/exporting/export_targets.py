"""What is written for each target of `gensweep export`.

A target is a function of a model and an empty folder.  It returns values for the model card: `usage`, the text under
"Use", or those that the template has a text for.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from gensweep.build.model import Model
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError
from gensweep.extras.exporting.drawing_chain import DrawingChain, drawing_chain
from gensweep.extras.exporting.traced_modules import write_denoiser, write_generator
from gensweep.families.denoising import DenoisingFamily
from gensweep.training.checkpoint import save
from gensweep.training.learner_state import weights_prefix


def write_safetensors(model: Model, folder: Path) -> dict[str, Any]:
    """The weights that draw images as a checkpoint, without what only training needs."""
    prefix = weights_prefix(model.weights, model.family.sampled)
    tree = model.config.as_dict()
    # The labels stay; the weights are plain ones, and the name of a path is enough.
    if "base" in tree.get("start", {}):
        merged = {"base": Path(tree["start"]["base"]).name, "update": {"kind": "full"}}
        tree = tree | {"start": tree["start"] | merged}
    record = replace(model.checkpoint, weights=prefix, metadata=tree)
    trained = TrialConfig.from_dict(model.checkpoint.metadata).as_dict()
    if prefix != model.checkpoint.weights or trained != model.config.as_dict():
        record = replace(record, metrics={}, identities={})  # the scores are of images that were drawn otherwise
    tensors = {f"{prefix}{name}": tensor for name, tensor in model.network.state_dict().items()}
    save(folder, record, tensors)
    return {"left_out": [name for name in model.family.networks if name != model.family.sampled]}


def write_diffusers(model: Model, folder: Path) -> dict[str, Any]:
    """A pipeline of diffusers.  Raises ConfigError for a model whose way to draw it does not have."""
    from gensweep.extras.exporting.diffusers_pipeline import write_pipeline

    family = model.family
    if not isinstance(family, DenoisingFamily):
        raise ConfigError(
            f"a model of the family {model.checkpoint.family} does not denoise step by step, as pipelines of diffusers "
            f"do; choose --to safetensors or onnx"
        )
    if family.told_intervals:
        raise ConfigError(
            "diffusers tells a network where a step begins, but not where it ends, which this needs; choose --to onnx"
        )
    chain = drawing_chain(model.config.as_dict()["sampler"], family, model.network)
    return _facts(chain) | write_pipeline(family, chain, model.class_names, folder)


def write_onnx_model(model: Model, folder: Path) -> dict[str, Any]:
    """Images from z where that is one graph, else the denoiser and the steps of its sampler."""
    family = model.family
    # Other samplers than Euler's take a network that is told intervals as one that is not.
    if not isinstance(family, DenoisingFamily) or (family.told_intervals and model.config.kind("sampler") == "euler"):
        return {"z": write_generator(family, folder / "model.onnx")}
    chain = drawing_chain(model.config.as_dict()["sampler"], family, model.network)
    write_denoiser(family, chain, folder / "model.onnx")
    steps = {"sampler": chain.sampler, "steps": chain.steps(), "class_names": model.class_names}
    (folder / "drawing.json").write_text(json.dumps(steps, indent=1) + "\n")
    return _facts(chain)


def _facts(chain: DrawingChain) -> dict[str, Any]:
    return {"z": None, "sampler": chain.sampler, "steps": len(chain.sigmas), "eta": chain.eta}
