"""Generators exported by another program: TorchScript files, or torch.export programs (.pt2)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from gensweep.data.picture_decoding import squared
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import file_sha256
from gensweep.metrics.extractors import to_uint8
from gensweep.noise import Noise

#: Default values of black and white.
DEFAULT_RANGE = (-1.0, 1.0)
#: Largest share of values outside the range; with more, the range must be wrong.
MAX_CLIPPED_SHARE = 0.1
#: Random stream of the images' seeds.
SEED_STREAM = 1
#: Random stream of z, the same as for gensweep's models.
LATENT_STREAM = 3
#: Suffix of torch.export.save.
PROGRAM_SUFFIX = ".pt2"


class ExportedGenerator:
    """Images from z, and from labels if `classes` is given, by the code in a file.

    z is standard normal of shape (n, *latent), on `device`; image i of a key depends only on its own numbers.  If the
    code draws random numbers itself, they depend on the key and the first image of the batch.  Its output is
    floating-point in `output_range`, -1..1 by default, or uint8.  The file's code is executed: load only files that you
    trust.  Raises ConfigError if the file cannot be loaded.
    """

    def __init__(
        self,
        file: Path,
        device: torch.device,
        latent: tuple[int, ...],
        *,
        classes: int | None = None,
        output_range: tuple[float, float] | None = None,
    ) -> None:
        self.file, self.device, self.latent = file, device, latent
        self.classes, self.output_range = classes, output_range
        self.sha256, self._module = file_sha256(file), _load(file, device)
        self.params = sum(p.numel() for p in self._module.parameters())
        self._drawn = 0

    @property
    def origin(self) -> dict[str, Any]:
        """Where it comes from, for the log."""
        return {
            "kind": "torchscript",
            "path": str(self.file.resolve()),
            "sha256": self.sha256,
            "latent": list(self.latent),
            "classes": self.classes,
            "output_range": self.output_range and list(self.output_range),
        }

    def draw(self, key: int, indices: Int[Tensor, " n"], labels: Int[Tensor, " n"] | None) -> UInt8[Tensor, "n c h w"]:
        """Images of these indices.  Raises GensweepError for NaN, or values outside the range."""
        z = Noise(key, indices).normal(*self.latent, stream=LATENT_STREAM)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.no_grad(), torch.random.fork_rng(devices):
                torch.manual_seed(image_seeds(key, indices[:1])[0])
                found = self._module(z) if labels is None else self._module(z, labels)
        except Exception as error:  # foreign code may raise anything
            arguments = f"z of shape {tuple(z.shape)}" + ("" if labels is None else f" and {len(labels)} labels")
            raise self._error(
                f"the generator does not accept {arguments}: {_cause(error)}; set --latent and --classes"
            ) from None
        raw = self._checked(found, len(indices))
        images = raw if raw.dtype == torch.uint8 else to_uint8(self._to_unit(raw.float()))
        self._drawn += len(indices)
        return images

    def _checked(self, raw: Any, n: int) -> Tensor:
        if not isinstance(raw, Tensor):
            raise self._error(f"the generator must return a tensor of images, but it returned a {type(raw).__name__}")
        numbers = raw.dtype == torch.uint8 or raw.is_floating_point()
        if not numbers or raw.ndim != 4 or raw.shape[0] != n or 0 in raw.shape:
            raise self._error(
                f"the generator must return floats or uint8 of shape ({n}, channels, height, width), but it returned "
                f"{raw.dtype} of shape {tuple(raw.shape)}; export it with that output"
            )
        if broken := int((~torch.isfinite(raw).flatten(1).all(1)).sum()):
            raise self._error(
                f"{broken} of the images {self._drawn}..{self._drawn + n - 1} hold NaN or infinite values and have no "
                "score"
            )
        return raw

    def _to_unit(self, raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Map values from `output_range` to -1..1."""
        low, high = self.output_range or DEFAULT_RANGE
        least, most = float(raw.min()), float(raw.max())
        if self.output_range is None and least >= 0 and most <= 1 and not self._drawn:
            raise self._error(
                f"the values of the images are in {least:.3g}..{most:.3g}, which looks like 0..1 and not like -1..1; "
                "set the range: --output-range 0,1 or --output-range=-1,1"
            )
        outside = int(((raw < low) | (raw > high)).sum())
        if outside > MAX_CLIPPED_SHARE * raw.numel():
            raise self._error(
                f"{100 * outside / raw.numel():.0f} % of the values are outside {low:g}..{high:g} (they range from "
                f"{least:.3g} to {most:.3g}); set the range, such as --output-range 0,255"
            )
        return (raw - low) / (high - low) * 2 - 1

    def _error(self, problem: str) -> GensweepError:
        return GensweepError(f"{self.file}: {problem}")


def _load(file: Path, device: torch.device) -> torch.nn.Module:
    try:
        with warnings.catch_warnings():
            # The user cannot fix TorchScript's deprecation warning.
            warnings.filterwarnings("ignore", ".*torch.jit")
            if file.suffix == PROGRAM_SUFFIX:
                from torch.export.passes import move_to_device_pass

                return move_to_device_pass(torch.export.load(str(file)), device).module()
            module: torch.nn.Module = torch.jit.load(str(file), map_location=device)  # type: ignore[no-untyped-call]
            return module.eval()
    except Exception as error:  # zip, pickle and code errors have no common type
        raise ConfigError(
            f"--torchscript {file}: torch cannot load it ({_cause(error)}); "
            f"save it with torch.jit.trace(...).save(FILE), or with torch.export.save as {PROGRAM_SUFFIX}"
        ) from None


def image_seeds(key: int, indices: Int[Tensor, " n"]) -> list[int]:
    """Seeds for generators of other programs, 0 <= seed < 2^62: one per image of a key."""
    high, low = Noise(key, indices).integers(2**31, 2, stream=SEED_STREAM).cpu().unbind(1)
    return (high << 31 | low).tolist()


def resized_pictures(images: UInt8[Tensor, "n c h w"], size: int) -> UInt8[Tensor, "n c size size"]:
    """Central squares of images at another size, resized like pictures in files."""
    rows = [squared(to_pil_image(picture), size, images.shape[1]) for picture in images.cpu()]
    return torch.from_numpy(np.stack(rows)).to(images.device)


def _cause(error: Exception) -> str:
    """Last line of an error: TorchScript puts its whole call stack first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).removeprefix("RuntimeError: ").partition(". ")[0][:200]
