"""The twin of a trained denoiser in diffusers: a UNet2DModel where that can hold it, else a TabulatedDenoiser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from diffusers import UNet2DModel
from jaxtyping import Float, Float64
from torch import Tensor, nn

from gensweep.diffusion.parameterisations import PARAMETERISATIONS, Coefficients
from gensweep.errors import ConfigError
from gensweep.extras.exporting.drawing_chain import DrawingChain
from gensweep.extras.exporting.pipeline_files.tabulated_denoiser import TabulatedDenoiser
from gensweep.families.denoising import DenoisingFamily
from gensweep.nn.layers import Conditioning
from gensweep.nn.unet import Attention, UNet, UNetBlock

M = TypeVar("M", bound=nn.Module)
#: A module of gensweep, and the one of diffusers that gets its weights.
Pairs = Iterator[tuple[nn.Module, nn.Module]]

#: What diffusers calls the predictions that it knows.
PREDICTION_TYPES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


class Twin(NamedTuple):
    """A network of diffusers whose timestep t is level t of a chain, and what its schedulers call its prediction."""

    network: nn.Module
    prediction_type: str

    @property
    def is_standard(self) -> bool:
        """Whether diffusers knows the network, so that a pipeline needs no modelling file."""
        return isinstance(self.network, UNet2DModel)


def twin_of(family: DenoisingFamily, chain: DrawingChain) -> Twin:
    """The twin of the network that draws a family's samples; it gives a variance only where the chain wants one.

    Raises ConfigError for a network that is not a U-Net of gensweep.
    """
    network = family.plain(family.networks[family.sampled])
    if not isinstance(network, UNet):
        raise ConfigError(
            f"a network of the class {type(network).__name__} cannot be given to diffusers, which takes unet, without "
            "Fourier features; choose --to onnx or safetensors"
        )
    channels, size, _ = family.shape
    coefficients, time = family.parameterisation(chain.rising), _network_times(family, chain)
    prediction_type = _prediction_type(coefficients, chain.rising)
    arguments = _unet_arguments(network, size) | {
        "in_channels": channels,
        "out_channels": channels,
        "num_train_timesteps": len(time),
        "num_class_embeds": None if network.condition.label is None else network.condition.label.num_embeddings,
    }
    twin: Any
    if prediction_type is not None and (uniform := _uniform_arguments(network)) is not None:
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
            twin.preconditioning.data.copy_(_preconditioning(coefficients, chain.rising))
    with torch.no_grad():
        for source, target in _unet_pairs(network, inner):
            _copy(source, target)
        if isinstance(inner.time_proj, nn.Embedding):
            inner.time_proj.weight.copy_(_time_features(network.condition, time))
    return Twin(twin.eval(), prediction_type or "sample")


def _network_times(family: DenoisingFamily, chain: DrawingChain) -> Float[Tensor, " t"]:
    """The times that the network is given at the levels of a chain, in float32 as where it draws."""
    sigma = chain.rising.float()
    time = family.parameterisation(sigma).time
    if time is None:
        time = family.process_of(family.networks[family.sampled]).network_time(sigma)
    return time.detach()


def _preconditioning(found: Coefficients, sigma: Float64[Tensor, " t"]) -> Float64[Tensor, "3 t"]:
    """skip, out and into of images x_t, which are those of sigma times sqrt(alpha_bar) = 1 / sqrt(1 + sigma^2)."""
    unscaled = (1 + sigma.square()).sqrt()
    return torch.stack([found.skip.flatten() * unscaled, found.out.flatten(), found.into.flatten() * unscaled])


def _uniform_arguments(network: UNet) -> dict[str, Any] | None:
    """Arguments of a UNet2DModel for groups and heads, if it can hold them: one number of groups, heads of a width."""
    groups = {each.num_groups for each in _all(network, nn.GroupNorm)}
    widths = {each.out.in_features // each.heads for each in _all(network, Attention)}
    if len(groups) != 1 or len(widths) > 1:
        return None
    (number,) = groups
    heads = {"attention_head_dim": widths.pop()} if widths else {}
    return {"norm_num_groups": number, "attn_norm_num_groups": number, **heads}


def _prediction_type(found: Coefficients, sigma: Tensor) -> str | None:
    """The name in diffusers of the prediction with these coefficients at these levels; None if it has none."""
    for kind, word in PREDICTION_TYPES.items():
        known = PARAMETERISATIONS[kind](sigma)
        if all(torch.equal(a, b) for a, b in zip(known[:3], found[:3], strict=True)):
            return word
    return None


def _unet_arguments(network: UNet, size: int) -> dict[str, Any]:
    """Arguments of a UNet2DModel that depend on the trained network alone."""
    levels: list[list[UNetBlock]] = [[]]
    for layer in network.down:
        if isinstance(layer, UNetBlock):
            levels[-1].append(layer)
        else:
            levels.append([])
    attends = ["Attn" if isinstance(blocks[0].attention, Attention) else "" for blocks in levels]
    middle = network.middle[0]
    assert isinstance(middle, UNetBlock)
    return {
        "sample_size": size,
        "time_embedding_type": "learned",
        "block_out_channels": [blocks[0].norm.num_channels for blocks in levels],
        "layers_per_block": len(levels[0]),
        "down_block_types": [f"{each}DownBlock2D" for each in attends],
        "up_block_types": [f"{each}UpBlock2D" for each in reversed(attends)],
        "add_attention": isinstance(middle.attention, Attention),
        "resnet_time_scale_shift": "scale_shift",
        # Numbers that every number of channels is a multiple of; a TabulatedDenoiser sets the right ones.
        "norm_num_groups": 1,
        "attn_norm_num_groups": 1,
        "attention_head_dim": 1,
    }


def _unet_pairs(network: UNet, twin: Any) -> Pairs:
    yield network.condition.time[0], twin.time_embedding.linear_1
    yield network.condition.time[2], twin.time_embedding.linear_2
    if network.condition.label is not None:
        yield network.condition.label, twin.class_embedding
    yield network.first, twin.conv_in
    yield network.last[0], twin.conv_norm_out
    yield network.last[2], twin.conv_out
    for layers, blocks in ((network.down, twin.down_blocks), (network.up, twin.up_blocks)):
        targets = (target for block in blocks for target in _layers(block))
        for layer, target in zip(layers, targets, strict=True):
            yield from _layer_pairs(layer, *target)
    attention = twin.mid_block.attentions[0]
    for layer, resnet, attends in zip(network.middle, twin.mid_block.resnets, (attention, None), strict=True):
        yield from _layer_pairs(layer, resnet, attends)


def _layers(block: Any) -> Iterator[tuple[nn.Module, nn.Module | None]]:
    """The residual blocks of a level, each with its attention, and what changes the resolution after them."""
    attentions = getattr(block, "attentions", None)
    for index, resnet in enumerate(block.resnets):
        yield resnet, None if attentions is None else attentions[index]
    for sampler in getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None) or ():
        yield sampler.conv, None


def _layer_pairs(layer: nn.Module, target: Any, attention: Any) -> Pairs:
    if not isinstance(layer, UNetBlock):
        yield layer, target
        return
    yield layer.enter[0], target.norm1
    yield layer.enter[2], target.conv1
    yield layer.scale_shift, target.time_emb_proj
    yield layer.norm, target.norm2
    yield layer.leave[2], target.conv2
    if target.conv_shortcut is not None:
        yield layer.skip, target.conv_shortcut
    if isinstance(layer.attention, Attention):
        yield layer.attention.norm, attention.group_norm
        yield from zip(_thirds(layer.attention.qkv), (attention.to_q, attention.to_k, attention.to_v), strict=True)
        yield layer.attention.out, attention.to_out[0]


def _copy(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters of equal names; of more outputs than the target has, the first."""
    parameters = dict(source.named_parameters())
    for name, parameter in target.named_parameters():
        parameter.copy_(parameters[name][: len(parameter)])


def _thirds(qkv: nn.Linear) -> Iterator[nn.Linear]:
    """A projection to queries, keys and values as three."""
    for weight, bias in zip(qkv.weight.chunk(3), qkv.bias.chunk(3), strict=True):
        part = nn.Linear(qkv.in_features, len(bias))
        part.weight, part.bias = nn.Parameter(weight), nn.Parameter(bias)
        yield part


def _time_features(condition: Conditioning, time: Float[Tensor, " t"]) -> Float[Tensor, "t features"]:
    """What the first layer of the time's embedding sees."""
    angles = time.float()[:, None] * condition.frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _all(network: nn.Module, kind: type[M]) -> list[M]:
    return [module for module in network.modules() if isinstance(module, kind)]
