"""The targets of `gensweep export`.

A target is a function of a model and an empty folder.  It returns values for the model card: `usage`, the text under
"Use", or values that the template has a text for.
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
    """The sampling weights as a checkpoint, without training state."""
    prefix = weights_prefix(model.weights, model.family.sampled)
    tree = model.config.as_dict()
    # Keep the labels; plain weights need no start, and file names replace paths.
    if "base" in tree.get("start", {}):
        merged: dict[str, Any] = {"base": Path(tree["start"]["base"]).name}
        merged |= {"update": {"kind": "full"}} if "update" in tree["start"] else {}
        tree = tree | {"start": tree["start"] | merged}
    record = replace(model.checkpoint, weights=prefix, metadata=tree)
    trained = TrialConfig.from_dict(model.checkpoint.metadata).as_dict()
    if prefix != model.checkpoint.weights or trained != model.config.as_dict():
        record = replace(record, metrics={}, identities={})  # the scores belong to other sampling settings
    tensors = {f"{prefix}{name}": tensor for name, tensor in model.network.state_dict().items()}
    save(folder, record, tensors)
    return {"left_out": [name for name in model.family.networks if name != model.family.sampled]}


def write_diffusers(model: Model, folder: Path) -> dict[str, Any]:
    """A diffusers pipeline.  Raises ConfigError for a model whose sampling diffusers does not support."""
    from gensweep.extras.exporting.diffusers_pipeline import write_pipeline

    family = model.family
    if not isinstance(family, DenoisingFamily):
        raise ConfigError(
            f"models of the family {model.checkpoint.family} do not denoise step by step, which diffusers needs; "
            f"choose --to safetensors or onnx"
        )
    if family.told_intervals:
        raise ConfigError("this model needs the end of each step, which diffusers does not provide; choose --to onnx")
    chain = drawing_chain(model.config.as_dict()["sampler"], family, model.network)
    return _facts(chain) | write_pipeline(family, chain, model.class_names, folder)


def write_onnx_model(model: Model, folder: Path) -> dict[str, Any]:
    """A generator of images from z if it fits one graph, else the denoiser and the steps of its sampler."""
    family = model.family
    # With samplers other than Euler's, a network for intervals works like one for levels.
    if not isinstance(family, DenoisingFamily) or (family.told_intervals and model.config.kind("sampler") == "euler"):
        return {"z": write_generator(family, folder / "model.onnx")}
    chain = drawing_chain(model.config.as_dict()["sampler"], family, model.network)
    write_denoiser(family, chain, folder / "model.onnx")
    steps = {"sampler": chain.sampler, "steps": chain.steps(), "class_names": model.class_names}
    (folder / "drawing.json").write_text(json.dumps(steps, indent=1) + "\n")
    return _facts(chain)


def _facts(chain: DrawingChain) -> dict[str, Any]:
    return {"z": None, "sampler": chain.sampler, "steps": len(chain.sigmas), "eta": chain.eta}
