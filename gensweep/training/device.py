"""What depends on the device: where a network lies on it, how it is compiled, its clock, its memory."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from typing import Literal, TypeAlias, cast

import torch
from torch import nn

from gensweep import kernels
from gensweep.nn.precision import MemoryFormat, Precision, uses_bfloat16

#: Numbers of glibc's mallopt: free memory at the end of the heap that goes back to the system, and the size of a block
#: from which on it does not come from the heap, both in bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def default_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(
    network: nn.Module, device: torch.device, precision: Precision, memory_format: MemoryFormat = "auto"
) -> nn.Module:
    """Move a network to its device in a memory format, "auto" being what is likely the fastest; inputs may have any."""
    network.to(device)
    if memory_format == "auto":
        # Channels last is faster almost everywhere, but not where PyTorch's own group norms run in bfloat16 on a CPU.
        grouped = any(isinstance(module, nn.GroupNorm) for module in network.modules())
        slow = grouped and device.type == "cpu" and uses_bfloat16(precision, device) and kernels.active() == "torch"
        memory_format = "channels_last" if device.type in ("cpu", "cuda") and not slow else "contiguous"
    order = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    network.to(memory_format=order)  # type: ignore[call-overload, unused-ignore]
    return network


def keep_freed_memory() -> None:
    """Let this process keep the memory of tensors on the CPU that are no more, for the next ones, up to its end.

    By default Linux gets it back and zeroes it at every step, which takes up to a tenth of one.  The most memory that
    the process takes stays the same.  Elsewhere than with glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30)


def synchronised_time(device: torch.device) -> float:
    """Seconds on a clock, once all work of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_bytes(device: torch.device) -> int:
    """The most memory so far: that of tensors on a GPU, that of the whole process elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


#: "none" leaves networks as they are; the others are modes of torch.compile, "reduce-overhead" with CUDA graphs.
Compilation: TypeAlias = Literal["none", "default", "reduce-overhead"]


def compiled(network: nn.Module, compilation: Compilation, *, backend: str = "inductor") -> nn.Module:
    """What the training step calls in the place of a network, whose weights it shares; itself for "none".

    The network itself stays as it is, with the names of its weights, for whatever draws samples, counts or saves.  Each
    shape is compiled for itself, as a training has one or two.
    """
    if compilation == "none":
        return network
    return cast(nn.Module, torch.compile(network, backend=backend, mode=compilation, dynamic=False))
