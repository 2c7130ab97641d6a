"""The U-Net as a UNet2DModel of diffusers: its options, and the names of its weights, for export and import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from gensweep.errors import ConfigError
from gensweep.nn.unet import Attention, UNet, UNetBlock

#: A module of our U-Net, and the modules of diffusers that hold its weights; several hold equal parts of each.
Twins = Iterator[tuple[str, tuple[str, ...]]]

#: Options that an import checks, at diffusers' defaults. Only `unet_options` may change them.
DEFAULTS: dict[str, Any] = {
    "resnet_time_scale_shift": "default",
    "time_embedding_type": "positional",
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "center_input_sample": False,
    "mid_block_scale_factor": 1,
    "downsample_padding": 1,
    "downsample_type": "conv",
    "upsample_type": "conv",
    "act_fn": "silu",
    "norm_eps": 1e-5,
    "class_embed_type": None,
}


def unet_options(network: UNet) -> dict[str, Any]:
    """Options of the UNet2DModel, without groups and heads."""
    runs = groupby(network.down, key=lambda layer: isinstance(layer, UNetBlock))
    levels: list[list[Any]] = [list(layers) for are_blocks, layers in runs if are_blocks]
    attends = ["Attn" if isinstance(blocks[0].attention, Attention) else "" for blocks in levels]
    return {
        "block_out_channels": [blocks[0].norm.num_channels for blocks in levels],
        "layers_per_block": len(levels[0]),
        "down_block_types": [f"{each}DownBlock2D" for each in attends],
        "up_block_types": [f"{each}UpBlock2D" for each in reversed(attends)],
        "add_attention": isinstance(network.middle[0].attention, Attention),
        "resnet_time_scale_shift": "scale_shift",
    }


def uniform_options(network: UNet) -> dict[str, Any] | None:
    """Options of groups and heads, if a UNet2DModel can represent them: one group count, one head width."""
    groups = {each.num_groups for each in network.modules() if isinstance(each, nn.GroupNorm)}
    widths = {each.out.in_features // each.heads for each in network.modules() if isinstance(each, Attention)}
    if len(groups) != 1 or len(widths) > 1:
        return None
    (number,) = groups
    heads = {"attn_norm_num_groups": number, "attention_head_dim": widths.pop()} if widths else {}
    return {"norm_num_groups": number, **heads}


def twin_names(network: UNet) -> Twins:
    """Names of all modules with weights, here and in the UNet2DModel."""
    yield "condition.time.0", ("time_embedding.linear_1",)
    yield "condition.time.2", ("time_embedding.linear_2",)
    if network.condition.label is not None:
        yield "condition.label", ("class_embedding",)
    yield "first", ("conv_in",)
    yield "last.0", ("conv_norm_out",)
    yield "last.2", ("conv_out",)
    for part in ("down", "up"):
        level = index = 0
        for position, layer in enumerate(getattr(network, part)):
            own, block = f"{part}.{position}", f"{part}_blocks.{level}"
            if isinstance(layer, UNetBlock):
                yield from _block_names(layer, own, block, index)
                index += 1
            else:
                yield own, (f"{block}.{part}samplers.0.conv",)
                level, index = level + 1, 0
    for index, layer in enumerate(network.middle):
        yield from _block_names(layer, f"middle.{index}", "mid_block", index)


def _block_names(layer: Any, own: str, block: str, index: int) -> Twins:
    resnet, attention = f"{block}.resnets.{index}", f"{block}.attentions.{index}"
    yield f"{own}.enter.0", (f"{resnet}.norm1",)
    yield f"{own}.enter.2", (f"{resnet}.conv1",)
    yield f"{own}.scale_shift", (f"{resnet}.time_emb_proj",)
    yield f"{own}.norm", (f"{resnet}.norm2",)
    yield f"{own}.leave.2", (f"{resnet}.conv2",)
    if isinstance(layer.skip, nn.Conv2d):
        yield f"{own}.skip", (f"{resnet}.conv_shortcut",)
    if isinstance(layer.attention, Attention):
        yield f"{own}.attention.norm", (f"{attention}.group_norm",)
        yield f"{own}.attention.qkv", tuple(f"{attention}.to_{each}" for each in "qkv")
        yield f"{own}.attention.out", (f"{attention}.to_out.0",)


def from_diffusers(network: nn.Module, options: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a UNet2DModel by their names in `network`.

    Raises ConfigError with each option that differs, or for weights that are missing.
    """
    if not isinstance(network, UNet):
        raise ConfigError("start.base: a UNet2DModel can only start a network of the kind unet; set network.kind")
    expected = DEFAULTS | unet_options(network) | (uniform_options(network) or {"norm_num_groups": "several numbers"})
    found = DEFAULTS | options
    if problems := [
        f"start.base: the UNet2DModel's {name} is {found.get(name)}, but this network needs {value}"
        + ("" if name in DEFAULTS else "; change its width, multipliers, blocks or attention")
        for name, value in expected.items()
        if found.get(name) != value
    ]:
        raise ConfigError(problems)
    state = {}
    try:
        for own, theirs in twin_names(network):
            for name, _ in network.get_submodule(own).named_parameters():
                state[f"{own}.{name}"] = torch.cat([tensors[f"{each}.{name}"] for each in theirs])
    except KeyError as error:
        raise ConfigError(f"start.base: the UNet2DModel has no weights {error}") from None
    return state
