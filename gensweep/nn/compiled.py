"""Kernels in C++ that this machine's compiler makes once; networks work without them too, only slower.

The library lies in the cache folder, under a name that stands for the source, the compiler and the processor.

Set GENSWEEP_KERNELS=0 to go without.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["SWITCH", "build", "compiler", "kernels"]

SWITCH = "GENSWEEP_KERNELS"
SOURCE = Path(__file__).with_name("norm_act.cpp")
#: Rounding is the only thing in which these differ from the strict rules; NaN and infinity stay what they are.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC", "-std=c++17")
#: One loop of 512 bits is twice as fast here as two of 256.
WIDE = "-mprefer-vector-width=512"
PATIENCE = 120.0


@functools.cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels, or None if they are switched off or this machine cannot make or load them."""
    if os.environ.get(SWITCH, "1") == "0":
        return None
    found = compiler()
    if found is None:
        return None
    try:
        library = ctypes.CDLL(str(build(found, _folder())))
    except (OSError, subprocess.SubprocessError):
        return None
    i, f, d, p, u = ctypes.c_int, ctypes.c_float, ctypes.c_double, ctypes.c_void_p, ctypes.c_uint64
    library.norm_act_forward.argtypes = [i, p, p, p, p, p, f, i, u, d, p, p]
    library.norm_act_backward.argtypes = [i, p, p, p, p, p, p, i, u, d, p, p, p]
    for function in (library.norm_act_forward, library.norm_act_backward):
        function.restype = None
    return library


def compiler() -> str | None:
    """The C++ compiler: $CXX, else g++ or clang++, if there is one."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++"))), None)


def build(compiler: str, folder: Path) -> Path:
    """The shared library in `folder`, made if it is not there; any number of processes may ask at once.

    Raises subprocess.SubprocessError or OSError if it cannot be made.
    """
    flags = (*FLAGS, WIDE) if platform.machine() in ("x86_64", "AMD64") else FLAGS
    # A folder may be shared by machines whose processors differ.
    parts = (SOURCE.read_text(), compiler, *flags, platform.machine(), _processor())
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    library = folder / f"norm_act-{name}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            made = Path(aside) / library.name
            command = [compiler, *flags, str(SOURCE), "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
            made.replace(library)
    return library


def _folder() -> Path:
    root = os.environ.get("GENSWEEP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "gensweep"
    return Path(root).expanduser() / "kernels"


def _processor() -> str:
    """What the processor can do, as Linux says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
