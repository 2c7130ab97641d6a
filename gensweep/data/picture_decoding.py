"""Decode a picture file to a small square array: upright, cropped, resized, 8 bits per channel."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from gensweep.errors import ConfigError

#: Picture formats of Apple's cameras, which need the extra `heic`.
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
HEIC_NEEDED = "pip install 'gensweep[heic]'"
# fmt: off
PICTURE_SUFFIXES = HEIC_SUFFIXES | frozenset({
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif",
    ".tiff", ".webp",
})
# fmt: on
WHITE_RGBA = (255, 255, 255, 255)
#: Pixels of the largest picture to decode, checked in the header, so that a small file cannot fill the memory.
MAX_PIXELS = 64_000_000


class Original(NamedTuple):
    """A decoded file: the picture's size in pixels and its pixel format."""

    width: int
    height: int
    mode: str


@cache
def heic_version() -> str | None:
    """Let PIL read HEIC; returns the version of the library, or None without the extra `heic`."""
    try:
        library = importlib.import_module("pillow_heif")
    except ImportError:
        return None
    library.register_heif_opener()
    return str(library.__version__)


@cache
def picture_formats() -> tuple[str, ...]:
    """PIL's names of the formats with these suffixes; others, such as EPS, would start programs."""
    heic_version()
    wanted = {name for suffix, name in Image.registered_extensions().items() if suffix in PICTURE_SUFFIXES}
    return tuple(name for name in Image.ID if name in wanted)


def original(path: Path) -> Original:
    """Read the header of a picture."""
    with Image.open(path, formats=picture_formats()) as file:
        return Original(*file.size, _mode(file))


def decoded(path: Path | BytesIO, size: int, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """Read a picture as `channels` (1: grey, 3: RGB) planes of `size` x `size` pixels.

    The largest central square is kept and resized bicubically, antialiased.  Transparent pictures are put on white;
    16-bit and floating-point pixels are scaled to 8 bits; an animation yields its first frame.
    Raises ValueError above MAX_PIXELS, and PIL's errors for a file that is damaged or not a picture.
    """
    with Image.open(path, formats=picture_formats()) as file:
        _check_pixels(file)
        # A JPEG decoder can skip detail that resizing would discard; decode at twice the size or more.
        file.draft(None, (2 * size, 2 * size))
        file.load()
        return squared(_upright(file), size, channels)


def read_picture(path: Path) -> Image.Image:
    """One whole picture that the user names, upright, 8 bits per channel, transparent parts on white.

    Raises ConfigError if it is missing, a folder, not a picture, damaged, or too large.
    """
    try:
        with path.open("rb"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual metadata
            with Image.open(path, formats=picture_formats()) as file:
                _check_pixels(file)
                file.load()
                return _eight_bits(_upright(file))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a picture") from None
    except UnidentifiedImageError:
        if lacks_heic_reader(path.name):
            raise ConfigError(f"{path} needs: {HEIC_NEEDED}") from None
        raise ConfigError(f"{path} is not in a known picture format; save it as .png or .jpg") from None
    except Exception as error:  # decoders raise many types
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} cannot be read as a picture ({reason}); save it as .png or .jpg") from None


def lacks_heic_reader(file: str) -> bool:
    """True for a HEIC file, by its name, if the extra `heic` is not installed."""
    return Path(file).suffix.lower() in HEIC_SUFFIXES and heic_version() is None


def squared(picture: Image.Image, size: int, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """The largest central square, resized; see `decoded`."""
    flat = _eight_bits(picture).convert("L" if channels == 1 else "RGB")
    square = ImageOps.fit(flat, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)


def _check_pixels(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(f"{picture.width} x {picture.height} pixels exceed the limit of {MAX_PIXELS / 1e6:g} million")


def _upright(picture: Image.Image) -> Image.Image:
    # A broken EXIF block does not affect the pixels.
    with contextlib.suppress(Exception):
        turned = ImageOps.exif_transpose(picture)
        turned.format = picture.format
        return turned
    return picture


def _mode(picture: Image.Image) -> str:
    """Name of the pixel format; it selects the conversion in `_eight_bits`."""
    if _is_deep(picture):
        return "more than 8 bits"
    if _is_transparent(picture):
        return "transparent"
    return {"1": "grey", "L": "grey", "P": "palette"}.get(picture.mode, picture.mode)


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode.startswith(("I", "F"))


def _is_transparent(picture: Image.Image) -> bool:
    return picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info


def _eight_bits(picture: Image.Image) -> Image.Image:
    if _is_deep(picture):
        if picture.mode == "F":
            usual: tuple[float, ...] = (1.0, 255.0, 65535.0)
        else:  # TIFF has real 32-bit integers; PIL also reads 16-bit PGM as such
            usual = (255.0, 65535.0) if picture.mode == "I" and picture.format == "TIFF" else (65535.0,)
        values = np.asarray(picture).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("some pixels are not finite")
        # The file does not state the value of white: use the smallest common maximum that holds all values.
        white = next((maximum for maximum in usual if values.max() <= maximum), values.max())
        return Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))
    if _is_transparent(picture):
        if picture.mode in ("La", "RGBa"):
            picture = picture.convert(picture.mode.upper())
        paper = Image.new("RGBA", picture.size, WHITE_RGBA)
        return Image.alpha_composite(paper, picture.convert("RGBA"))
    # Not every mode converts directly to grey.
    return picture if picture.mode in ("1", "L") else picture.convert("RGB")
