"""Tensors in a safetensors file, which whoever may read the other files may read, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def write_tensors(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors from any device.  Raises OSError or SafetensorError if the disk does not take them."""
    file.touch()
    mode = file.stat().st_mode
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, file, None if metadata is None else dict(metadata))
    file.chmod(mode)  # safetensors lets nobody but the owner read what it writes
