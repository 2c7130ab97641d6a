"""Any picture file as a small square array: rotated as the camera meant it, cropped, resized, 8 bits a channel."""

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

#: Pictures of Apple's cameras, which the extra `heic` reads.
HEIC_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
HEIC_NEEDED = "pip install 'gensweep[heic]'"
# fmt: off
PICTURE_SUFFIXES = HEIC_SUFFIXES | frozenset({
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif",
    ".tiff", ".webp",
})
# fmt: on
WHITE_RGBA = (255, 255, 255, 255)
#: Pixels of the largest picture that is decoded.  Its header tells, so that a small file cannot fill the memory.
MAX_PIXELS = 64_000_000


class Original(NamedTuple):
    """The picture in a file: its size in pixels and its kind of pixels."""

    width: int
    height: int
    mode: str


@cache
def heic_version() -> str | None:
    """Let PIL read HEIC; the version of the library that does it, or None without the extra `heic`."""
    try:
        library = importlib.import_module("pillow_heif")
    except ImportError:
        return None
    library.register_heif_opener()
    return str(library.__version__)


@cache
def picture_formats() -> tuple[str, ...]:
    """PIL's names of the formats with these suffixes, in its order; others, such as EPS, start programs to be read."""
    heic_version()
    wanted = {name for suffix, name in Image.registered_extensions().items() if suffix in PICTURE_SUFFIXES}
    return tuple(name for name in Image.ID if name in wanted)


def original(path: Path) -> Original:
    """Read the header of a picture."""
    with Image.open(path, formats=picture_formats()) as file:
        return Original(*file.size, _mode(file))


def decoded(path: Path | BytesIO, size: int, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """Read a picture as `channels` (1: grey, 3: RGB) planes of `size` x `size` pixels.

    The largest square in the middle is kept and resized bicubically, antialiased.  Transparent pictures lie on white;
    16-bit and floating-point ones are scaled to 8 bits; of an animation the first frame is taken.
    Raises ValueError for one of more than MAX_PIXELS, and whatever PIL raises for a file that is no
    picture, or torn.
    """
    with Image.open(path, formats=picture_formats()) as file:
        _check_pixels(file)
        # A JPEG decoder can skip detail that the resizing would throw away; twice the size leaves enough of it.
        file.draft(None, (2 * size, 2 * size))
        file.load()
        return squared(_upright(file), size, channels)


def read_picture(path: Path) -> Image.Image:
    """One picture that the user names, whole, upright and in 8 bits a channel; transparent parts lie on white.

    Raises ConfigError, in one line, if it is missing, a folder, no picture, torn, or too large to be one.
    """
    try:
        with path.open("rb"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata
            with Image.open(path, formats=picture_formats()) as file:
                _check_pixels(file)
                file.load()
                return _eight_bits(_upright(file))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a picture") from None
    except UnidentifiedImageError:
        if lacks_heic_reader(path.name):
            raise ConfigError(f"{path} needs: {HEIC_NEEDED}") from None
        raise ConfigError(f"{path} is no picture in a format that is known; save it as .png or .jpg") from None
    except Exception as error:  # decoders raise all sorts of things
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path} cannot be read as a picture ({reason}); save it as .png or .jpg") from None


def lacks_heic_reader(file: str) -> bool:
    """True for a HEIC file, by its name, where the extra `heic` is not installed."""
    return Path(file).suffix.lower() in HEIC_SUFFIXES and heic_version() is None


def squared(picture: Image.Image, size: int, channels: int) -> UInt8[np.ndarray, "c h w"]:
    """The largest square in the middle, resized; see `decoded`."""
    flat = _eight_bits(picture).convert("L" if channels == 1 else "RGB")
    square = ImageOps.fit(flat, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)


def _check_pixels(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(
            f"{picture.width} x {picture.height} pixels are more than the {MAX_PIXELS / 1e6:g} million that are decoded"
        )


def _upright(picture: Image.Image) -> Image.Image:
    # A broken EXIF block says nothing about the pixels.
    with contextlib.suppress(Exception):
        turned = ImageOps.exif_transpose(picture)
        turned.format = picture.format
        return turned
    return picture


def _mode(picture: Image.Image) -> str:
    """The kind of pixels in words; it also names the conversion that `_eight_bits` does."""
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
        else:  # whole numbers of 32 bits are a TIFF's own, while PIL makes them of 16 bits in a PGM
            usual = (255.0, 65535.0) if picture.mode == "I" and picture.format == "TIFF" else (65535.0,)
        values = np.asarray(picture).astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError("some pixels are not finite numbers")
        # The file does not say which grey is white: the smallest usual maximum that holds all values.
        white = next((maximum for maximum in usual if values.max() <= maximum), values.max())
        return Image.fromarray(np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8))
    if _is_transparent(picture):
        if picture.mode in ("La", "RGBa"):
            picture = picture.convert(picture.mode.upper())
        paper = Image.new("RGBA", picture.size, WHITE_RGBA)
        return Image.alpha_composite(paper, picture.convert("RGBA"))
    # Not every mode has a direct way to grey.
    return picture if picture.mode in ("1", "L") else picture.convert("RGB")
