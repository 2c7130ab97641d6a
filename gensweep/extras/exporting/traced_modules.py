"""Trained networks as tensor-only modules, and as ONNX files."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from gensweep.diffusion.guidance import guided
from gensweep.diffusion.parameterisations import denoised
from gensweep.errors import ConfigError
from gensweep.extras.exporting.drawing_chain import DrawingChain
from gensweep.families.denoising import DenoisingFamily
from gensweep.families.family import Family
from gensweep.noise import Noise, Words

#: Batch size for tracing; a batch of one could become a constant.
EXAMPLES = 2
#: ONNX operator version; onnxruntime 1.12 (2022) and later support it.
ONNX_OPSET = 17
#: A graph unrolls every step, about a hundred operations each for a small network.
MAX_STEPS_OF_GRAPH = 32


class GuidedDenoiser(nn.Module):
    """D(x; sigma), with the family's guidance: images x_0 in [-1, 1] from x_0 + sigma eps."""

    def __init__(self, family: DenoisingFamily) -> None:
        super().__init__()
        self.family, self.network = family, family.networks[family.sampled]

    def forward(
        self, x: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"], labels: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Labels count from 0; the one after the last class means "no label"."""
        family = self.family

        def predict(x: Tensor, time: Tensor) -> Tensor:
            def at(scale: float) -> Tensor:
                return guided(self.network, x, time, labels, null=family.classes, scale=scale)

            if family.guidance_interval is None or family.guidance == 1:
                return at(family.guidance)
            low, high = family.guidance_interval
            inside = (sigma > low) & (sigma <= high)
            return torch.where(inside.view(-1, 1, 1, 1), at(family.guidance), at(1.0))

        network_time = family.process_of(self.network).network_time
        return denoised(predict, family.parameterisation, network_time, x, sigma)


def write_denoiser(family: DenoisingFamily, chain: DrawingChain, file: Path) -> None:
    """Write the denoiser as ONNX, with labels if the family has classes."""
    inputs = {"x": torch.zeros(EXAMPLES, *family.shape), "sigma": torch.full((EXAMPLES,), chain.sigmas[0])}
    if family.classes:
        inputs["labels"] = torch.zeros(EXAMPLES, dtype=torch.int64)
    _write_onnx(GuidedDenoiser(family), inputs, ("x_0",), file)


def write_generator(family: Family, file: Path) -> tuple[int, ...]:
    """Write the generator from z as ONNX, with labels if the family has classes; returns the shape of one z.

    Raises ConfigError if sampling needs more random numbers than z, or more than MAX_STEPS_OF_GRAPH steps.
    """
    generator, drawn = Generator(family), Draws(0, torch.arange(EXAMPLES), [])
    labels = {"labels": torch.zeros(EXAMPLES, dtype=torch.int64)} if family.classes else {}
    calls = itertools.count(1)

    def check_steps(*_: object) -> None:
        if next(calls) > MAX_STEPS_OF_GRAPH:
            raise ConfigError(
                f"sampler.steps: a graph holds one network per step, {MAX_STEPS_OF_GRAPH} at most; add --set "
                "sampler.steps=4"
            )

    with torch.no_grad(), generator.network.register_forward_pre_hook(check_steps):
        generator.family.sample(generator.network.eval(), drawn, labels.get("labels"))
    _write_onnx(generator, {"z": drawn.z[0]} | labels, ("images",), file)
    return tuple(drawn.z[0].shape[1:])


@dataclass(frozen=True)
class Draws(Noise):
    """Normal random numbers that can be requested once: `z[0]`, drawn if missing."""

    z: list[Tensor]
    streams: list[int] = field(default_factory=list)

    def normal(self, *shape: int, stream: int) -> Float[Tensor, "n ..."]:
        """All of z.  Raises ConfigError on the second request."""
        if self.streams:
            self._words(0, stream)
        self.streams.append(stream)
        if not self.z:
            self.z.append(Noise(self.key, self.samples).normal(*shape, stream=stream))
        return self.z[0]

    def _words(self, blocks: int, stream: int) -> Iterator[tuple[slice, Words]]:
        raise ConfigError(
            "this model adds noise while sampling, which only --to safetensors keeps; choose settings of family or "
            "sampler without noise"
        )


class Generator(nn.Module):
    """A family's sampling in float32; z is its only random input.

    Its steps are unrolled into one graph with shared weights.  Batch norms without scale and shift get 1 and 0, which
    ONNX's operator requires.
    """

    def __init__(self, family: Family) -> None:
        super().__init__()
        self.family, self.network = copy.copy(family), copy.deepcopy(family.networks[family.sampled])
        if isinstance(self.family, DenoisingFamily):
            self.family.sampling_precision = "float32"
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.weight is None:
                module.weight = nn.Parameter(torch.ones(module.num_features))
                module.bias = nn.Parameter(torch.zeros(module.num_features))

    def forward(self, z: Float[Tensor, "b ..."], labels: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b c h w"]:
        """Images in [-1, 1]."""
        return self.family.sample(self.network, Draws(0, torch.arange(EXAMPLES), [z]), labels)


def _write_onnx(module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], file: Path) -> None:
    """Write a module with a variable batch size and named inputs and outputs."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about deprecated exporters and constants
        module.eval()(**inputs)  # the first call builds caches, such as tables on a device
        torch.onnx.register_custom_op_symbolic("aten::searchsorted", _position_in_table, ONNX_OPSET)  # type: ignore[attr-defined]
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(file),
            dynamo=False,  # torch.export fixes the batch size where labels are guided
            opset_version=ONNX_OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
        )


def _position_in_table(graph: Any, table: Any, values: Any, *settings: Any) -> Any:
    """ONNX version of `searchsorted` for a list of values: the number of smaller entries in a rising table."""

    def axis(number: int) -> Any:
        return graph.op("Constant", value_t=torch.tensor([number]))

    smaller = graph.op("Less", graph.op("Unsqueeze", table, axis(0)), graph.op("Unsqueeze", values, axis(1)))
    counted = graph.op("Cast", smaller, to_i=torch.onnx.TensorProtoDataType.INT64)
    return graph.op("ReduceSum", counted, axis(1), keepdims_i=0)
