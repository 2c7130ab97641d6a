"""Device-dependent parts: placement and compilation of networks, clock, memory."""

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

#: Parameters of glibc's mallopt: free memory at the heap's end that is returned to the system, and the smallest block
#: outside the heap, both in bytes.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def default_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(
    network: nn.Module, device: torch.device, precision: Precision, memory_format: MemoryFormat = "auto"
) -> nn.Module:
    """Move a network to its device in a memory format; "auto" picks the likely fastest.  Inputs may have any."""
    network.to(device)
    if memory_format == "auto":
        # Channels last is faster almost everywhere, except with PyTorch's group norms in bfloat16 on a CPU.
        grouped = any(isinstance(module, nn.GroupNorm) for module in network.modules())
        slow = grouped and device.type == "cpu" and uses_bfloat16(precision, device) and kernels.active() == "torch"
        memory_format = "channels_last" if device.type in ("cpu", "cuda") and not slow else "contiguous"
    order = torch.channels_last if memory_format == "channels_last" else torch.contiguous_format
    network.to(memory_format=order)  # type: ignore[call-overload, unused-ignore]
    return network


def keep_freed_memory() -> None:
    """Let this process keep freed CPU tensor memory for reuse.

    By default Linux reclaims and zeroes it at every step, which costs up to a tenth of the step.  Peak memory stays the
    same.  Has no effect without glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_THRESHOLD, 2**30)


def synchronised_time(device: torch.device) -> float:
    """Clock time in seconds, after the device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_bytes(device: torch.device) -> int:
    """Peak memory so far: of tensors on a GPU, else of the process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


#: "none" disables compilation; the others are modes of torch.compile, "reduce-overhead" with CUDA graphs.
Compilation: TypeAlias = Literal["none", "default", "reduce-overhead"]


def compiled(network: nn.Module, compilation: Compilation, *, backend: str = "inductor") -> nn.Module:
    """A compiled network that shares the weights; the network itself for "none".

    The original stays usable, with its weight names, for sampling, counting and saving.  Each shape is compiled
    separately, as a training has one or two.
    """
    if compilation == "none":
        return network
    return cast(nn.Module, torch.compile(network, backend=backend, mode=compilation, dynamic=False))
