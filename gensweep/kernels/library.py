"""The shared library of the compiled kernels: built once per machine, checked by its hash, loaded once per process.

It is stored in the cache folder.  Its name holds a key (sources, compiler, processor, C library) and the SHA-256 of its
content, so that a damaged file, which would crash the process, is never loaded.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from gensweep.files import cache_folder, file_sha256, write_bytes

#: The environment variable that switches the kernels off when it is 0.
KERNELS_VARIABLE = "GENSWEEP_KERNELS"
SOURCES = sorted(Path(__file__).parent.glob("*.cpp"))
HEADERS = sorted(Path(__file__).parent.glob("*.h"))
#: These change only rounding; NaN and infinity are preserved.
COMPILER_FLAGS = (
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
    "-shared",
    "-fPIC",
    "-std=c++17",
)
#: The loops of norm_act.cpp are twice as fast with one vector of 512 bits as with two of 256.
WIDE_VECTORS_FLAG = "-mprefer-vector-width=512"
#: The compiler takes about five seconds.
COMPILER_TIMEOUT_SECONDS = 120.0

logger = logging.getLogger(__name__)


def active(device_type: str = "cpu") -> Literal["c++", "torch"]:
    """Implementation of `norm_act` on such devices: the compiled kernels or PyTorch's operations."""
    return "c++" if device_type == "cpu" and library() is not None else "torch"


def is_plain(x: Tensor) -> bool:
    """True if x is on a CPU and nothing traces or transforms the computation, so a kernel may run."""
    return (
        not torch.compiler.is_compiling()  # first, so that the rest is not traced
        and x.device.type == "cpu"
        and type(x) in (Tensor, nn.Parameter)
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch._C._get_tracing_state()
        and forward_ad._current_level < 0
    )


def kernels() -> ctypes.CDLL:
    """The compiled kernels, where something has found that there are some."""
    found = library()
    assert found is not None, "is_compiled comes first"
    return found


def run(name: str, *arguments: Tensor | tuple[int, ...] | float | None) -> None:
    """Call a kernel, which takes tensors by their addresses and several numbers as an array."""

    def as_c(x: object) -> Any:
        if isinstance(x, tuple):
            return (ctypes.c_int64 * len(x))(*x)
        return x.data_ptr() if isinstance(x, Tensor) else x

    getattr(kernels(), name)(*map(as_c, arguments))


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where they are switched off, or cannot be built or loaded, which is logged once."""
    found, why = _loaded()
    if found is None and not _switched_off():
        logger.warning("networks use PyTorch's operations, which are slower but equally exact: %s", why)
    return found


def detail() -> str:
    """The compiler that built the kernels, or why there are none; logs nothing."""
    return _loaded()[1]


def compiler() -> str | None:
    """The C++ compiler: $CXX, else g++ or clang++, if there is one."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None)


def build(compiler: str, folder: Path) -> Path:
    """The shared library in `folder`, compiled unless a sound one is there; processes may call it at the same time.

    Raises subprocess.SubprocessError or OSError if it cannot be built.
    """
    flags = (*COMPILER_FLAGS, WIDE_VECTORS_FLAG) if platform.machine() in ("x86_64", "AMD64") else COMPILER_FLAGS
    # A folder may be shared by machines whose processors or C libraries differ.
    texts = (file.read_text() for file in (*SOURCES, *HEADERS))
    parts = (*texts, compiler, *flags, platform.machine(), _processor(), *platform.libc_ver())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    stem = f"kernels-{key}"
    for there in folder.glob(f"{stem}-*.so"):
        if there.name == _name(stem, there):
            return there
    with tempfile.TemporaryDirectory() as aside:
        made = Path(aside) / f"{stem}.so"
        command = [compiler, *flags, *map(str, SOURCES), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILER_TIMEOUT_SECONDS)
        target = folder / _name(stem, made)
        write_bytes(target, made.read_bytes())
        return target


@functools.cache
def _loaded() -> tuple[ctypes.CDLL | None, str]:
    """The kernels, and their compiler or why there are none."""
    if _switched_off():
        return None, f"{KERNELS_VARIABLE} is 0"
    found = compiler()
    if found is None:
        return None, "there is no C++ compiler (g++, clang++ or $CXX)"
    folder = cache_folder() / "kernels"
    try:
        loaded = ctypes.CDLL(str(build(found, folder)))
    except subprocess.CalledProcessError as error:
        return None, f"{found} failed: {(error.stderr or str(error)).splitlines()[0]}"
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"the compiled kernels cannot be put into {folder} or loaded from there ({error})"
    i, n, f, p = ctypes.c_int, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    arguments: dict[str, list[Any]] = {
        "norm_act_forward": [i, p, p, p, p, p, f, i, p, f, p, p],
        "norm_act_backward": [i, p, p, p, p, p, p, i, p, f, p, p, p],
        "attention_forward": [p, p, f, p],
        "attention_backward": [p, p, p, f, p],
        "same_convolution": [i, *[p] * 5],
        "same_input_gradient": [i, *[p] * 4],
        "same_filter_gradient": [i, *[p] * 4],
        "halving_convolution": [i, *[p] * 5],
        "doubling_convolution": [i, *[p] * 5],
        "halving_filter_gradient": [i, *[p] * 4],
        "philox": [p, n, n, n, n, p],
    }
    for name, types in arguments.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = types, None
    return loaded, f"compiled by {found}"


def _switched_off() -> bool:
    return os.environ.get(KERNELS_VARIABLE) == "0"


def _name(stem: str, file: Path) -> str:
    """The name that a library with this content has to have; "" if it cannot be read."""
    try:
        return f"{stem}-{file_sha256(file)}.so"
    except OSError:
        return ""


def _processor() -> str:
    """The processor's features, from Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
