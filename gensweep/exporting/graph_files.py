"""Networks in files that need no gensweep to run: ONNX and TorchScript."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gensweep.exporting.drawing_chain import DrawingChain
from gensweep.exporting.traced_modules import DenoiserCall, DrawingLoop, GuidedDenoiser, Traceable
from gensweep.files import naming

#: The version of ONNX's operators; onnxruntime 1.12 (2022) and later run it.
ONNX_OPSET = 17
#: What ONNX calls int64.
_ONNX_INT64 = 7


def write_onnx(traceable: Traceable, file: Path) -> None:
    """Write a module with a batch of any size; inputs and outputs have their names."""
    names = [*traceable.inputs, *traceable.outputs]
    with _quietly(), torch.no_grad():
        torch.onnx.register_custom_op_symbolic("aten::searchsorted", _position_in_table, ONNX_OPSET)  # type: ignore[attr-defined]
        torch.onnx.export(
            traceable.module,
            tuple(traceable.inputs.values()),
            str(file),
            dynamo=False,  # torch.export makes the size of the batch a constant where labels are guided
            opset_version=ONNX_OPSET,
            input_names=list(traceable.inputs),
            output_names=list(traceable.outputs),
            dynamic_axes={name: {0: "batch"} for name in names},
        )


def write_traced(traceable: Traceable, file: Path) -> None:
    """Write a module as TorchScript that takes its inputs by position."""
    with _quietly(), torch.no_grad():
        _save(torch.jit.trace(traceable.module, tuple(traceable.inputs.values())), file)  # type: ignore[no-untyped-call]


def write_drawing_loop(traceable: Traceable, chain: DrawingChain, file: Path, *, labelled: bool) -> None:
    """Write a denoiser, and the loop that draws images with it, as TorchScript that takes z, labels and noise."""
    denoiser = traceable.module
    assert isinstance(denoiser, GuidedDenoiser)
    x, sigma = traceable.inputs["x"], traceable.inputs["sigma"]
    inputs = x, sigma, torch.zeros(len(x), dtype=torch.int64)
    with _quietly(), torch.no_grad():
        traced = torch.jit.trace(DenoiserCall(denoiser).eval(), inputs)  # type: ignore[no-untyped-call]
        loop: nn.Module = DrawingLoop(traced, chain, labelled=labelled).eval()
        _save(torch.jit.script(loop), file)


def _position_in_table(graph: Any, table: Any, values: Any, *settings: Any) -> Any:
    """ONNX's operators for `searchsorted` of a list of values: how many entries of a rising table are smaller."""

    def axis(number: int) -> Any:
        return graph.op("Constant", value_t=torch.tensor([number]))

    smaller = graph.op("Less", graph.op("Unsqueeze", table, axis(0)), graph.op("Unsqueeze", values, axis(1)))
    counted = graph.op("Cast", smaller, to_i=_ONNX_INT64)
    return graph.op("ReduceSum", counted, axis(1), keepdims_i=0)


def _save(module: torch.jit.ScriptModule, file: Path) -> None:
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with naming(file):  # what PyTorch says of a full disk does not say so
        file.write_bytes(buffer.getvalue())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what PyTorch says about its exporters: that they are deprecated, that a number became a constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
