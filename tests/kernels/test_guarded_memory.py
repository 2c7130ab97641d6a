"""Convolutions, attention and random words touch no memory but their own, on whichever processor this is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import torch
from gensweep.kernels.library import library
from gensweep.noise import philox_words
from gensweep.kernels.attention import attend
from gensweep.nn.layers import DoublingConv2d, HalvingConv2d, SameConv2d
torch.set_num_threads(1)
for inputs in (8, 16, 24, 40):
    layers = [SameConv2d(inputs, 2 * inputs, dilation) for dilation in (1, 2, 4, 8)]
    layers += [HalvingConv2d(inputs, 2 * inputs), DoublingConv2d(inputs, 2 * inputs)]
    for conv in layers:
        conv = conv.to(memory_format=torch.channels_last)
        x = torch.randn(4, inputs, 32, 32).contiguous(memory_format=torch.channels_last).requires_grad_()
        for enabled in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                conv(x).float().square().sum().backward()
            for each in (x, conv.weight, conv.bias):
                assert each.grad.isfinite().all(), (conv, enabled)
                each.grad = None
for pixels, channels in ((16, 16), (48, 80), (256, 64)):
    qkv = torch.randn(2, pixels, 3, 2, channels).bfloat16().requires_grad_()
    attend(qkv).float().square().sum().backward()
    assert qkv.grad.isfinite().all()
for rows in (1, 7, 64) if library() is not None else ():
    for blocks in (1, 15, 16, 768):
        assert philox_words(1, torch.arange(rows), blocks, 2)[3].max() < 2**32
print("touched nothing else")
"""


@pytest.mark.trains
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs a C compiler on Linux")
def test_kernels_stay_within_their_memory(tmp_path):
    guard = tmp_path / "guarded_memory.so"
    source = Path(__file__).with_name("guarded_memory.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", guard, source, "-ldl"], check=True)
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"LD_PRELOAD": str(guard)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout) == (0, "touched nothing else\n"), ended.stderr[-500:]
