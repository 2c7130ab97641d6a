"""Files next to the weights of a trained model: pictures, and estimates of a score's error."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from gensweep.data.images import Images
from gensweep.errors import ConfigError, GensweepError
from gensweep.files import naming
from gensweep.noise import Noise
from gensweep.training.evaluation import EvaluationResult, sample_labels

if TYPE_CHECKING:
    from PIL import ImageFont
    from PIL.PngImagePlugin import PngInfo

SUSPECTS_FILE, SUSPECTS_COLUMNS = "suspects.png", 8
#: Images per row of a class, and classes in a contact sheet.
SHEET_COLUMNS, SHEET_CLASSES = 10, 20


def write_result(result: EvaluationResult, images: Images, folder: Path) -> None:
    """Write the pictures, each as KEY.png, and estimates.json if there are estimates.

    estimates.json holds, by metric, "corrected", "error" and the "influences" of the images, in their order.
    """
    write_pictures(result, images, lambda key: folder / f"{key}.png")
    record = {
        name: {
            "corrected": estimate.corrected,
            "error": estimate.error,
            "influences": [float(f"{value:.7g}") for value in estimate.influences.tolist()],
        }
        for name, estimate in result.estimates.items()
    }
    if record:
        (folder / "estimates.json").write_text(json.dumps(record, allow_nan=False) + "\n")


def write_pictures(result: EvaluationResult, images: Images, file_of: Callable[[str], Path]) -> None:
    """Write the pictures of an evaluation to the files of their keys; `images` is the training set.

    "samples" are the first images, by class if they have classes; "real" are real images in the same layout.
    "suspects" are possible copies, each with its original to the right.
    """
    shown, labels = result.shown, result.shown_labels
    alike = sample_labels(images.class_counts, Noise(0, torch.arange(len(shown)))) if labels is None else labels
    for key, chosen in (("samples", shown), ("real", real_images(images, alike))):
        _write_grid_of_classes(chosen, file_of(key), labels=labels, images=images)
    if result.suspects is not None:
        write_grid(result.suspects, file_of("suspects"), SUSPECTS_COLUMNS)


def _write_grid_of_classes(
    shown: UInt8[Tensor, "k c h w"], file: Path, *, labels: Int[Tensor, " k"] | None, images: Images
) -> None:
    if labels is None or images.classes == 1:
        write_grid(shown, file)
    else:
        write_class_grid(shown, labels, images.class_names, file)


def write_contact_sheet(images: Images, file: Path) -> None:
    """Write the first images of each class of a data set as one picture.

    Raises ConfigError unless the file's name ends in .png, GensweepError if it cannot be written.
    """
    if file.suffix.lower() != ".png":
        raise ConfigError(f"--output {file}: the name must end in .png")
    shown = SHEET_COLUMNS if images.classes > 1 else SHEET_COLUMNS**2
    index = torch.cat(
        [(images.labels == label).nonzero()[:shown, 0] for label in range(images.classes)[:SHEET_CLASSES]]
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_grid_of_classes(images.pixels[index], file, labels=images.labels[index], images=images)
    except OSError as error:
        raise GensweepError(f"{file} cannot be written: {error}") from error


def write_grid(images: UInt8[Tensor, "k c h w"], file: Path, columns: int | None = None) -> None:
    """Write images as one grid with a layout, square unless `columns` is given; small images are enlarged."""
    # A slow import that only processes with pictures need.
    from torchvision.utils import make_grid

    tiles = tiles_of(images)
    columns, side = columns or math.ceil(math.sqrt(len(tiles))), tiles.shape[-1]
    corners = [(index % columns * side, index // columns * side) for index in range(len(tiles))]
    write_picture(make_grid(tiles, nrow=columns, padding=0, pad_value=255), file, _layout(side, corners))


def write_picture(image: UInt8[Tensor, "c h w"], file: Path, layout: PngInfo | None = None) -> None:
    """Write an image of one or three channels as a PNG file.  Raises OSError if it cannot be written."""
    from PIL import Image

    pixels = image.permute(1, 2, 0).contiguous().numpy()
    with naming(file):
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, "PNG", pnginfo=layout)


def _layout(side: int, corners: Sequence[tuple[int, int]]) -> PngInfo:
    """The side of an image and the upper left corners of the images, for the report, which cuts out the first ones."""
    from PIL.PngImagePlugin import PngInfo

    found = PngInfo()
    found.add_text("layout", json.dumps([side, corners]))
    return found


#: Small images are enlarged to about this side in a grid, in pixels.
MIN_TILE_PIXELS = 64
#: White margin around each image of a grid, in pixels.
TILE_MARGIN_PIXELS = 2
#: Height of letters, and the space to the left and right of a name, in pixels.
NAME_FONT_PIXELS = 12
NAME_SPACE_PIXELS = 5
#: Largest number of letters shown of a name.
MAX_NAME_LETTERS = 16


def tiles_of(images: UInt8[Tensor, "k c h w"]) -> UInt8[Tensor, "k c t t"]:
    """Images as grid tiles: enlarged without smoothing if small, with a margin."""
    scale = max(1, MIN_TILE_PIXELS // images.shape[-1])
    large = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    return F.pad(large, [TILE_MARGIN_PIXELS] * 4, value=255)


def write_class_grid(
    images: UInt8[Tensor, "k c h w"], labels: Int[Tensor, " k"], class_names: Sequence[str], file: Path
) -> None:
    """Write images as one picture with a row per class, in the order of the classes.

    Names with letters that DejaVu Sans lacks are shown as numbers.  Long rows are wrapped and many rows are put side by
    side, so that the picture is about square.  The file has a layout, see `_layout`.
    """
    # A slow import that only processes with pictures need.
    from PIL import Image, ImageDraw

    font, letters = _font()
    members = {label: (labels == label).nonzero()[:, 0].tolist() for label in sorted(set(labels.tolist()))}
    texts = {
        label: _short(class_names[label]) if letters.issuperset(map(ord, class_names[label])) else f"class {label}"
        for label in members
    }
    tiles = tiles_of(images).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
    side = tiles.shape[1]
    space = math.ceil(max(map(font.getlength, texts.values()))) + 2 * NAME_SPACE_PIXELS
    most = max(map(len, members.values()))
    columns = min(most, SHEET_COLUMNS)
    rows = [
        (label, start == 0, found[start : start + columns])
        for label, found in members.items()
        for start in range(0, len(found), columns)
    ]
    width = space + side * columns
    across = max(1, round(math.sqrt(len(rows) * side / width)))
    high = math.ceil(len(rows) / across)
    sheet = Image.new("RGB", (width * -(-len(rows) // high), side * high), "white")
    pen, corners = ImageDraw.Draw(sheet), [(0, 0)] * len(tiles)
    for place, (label, is_first, row) in enumerate(rows):
        left, top = place // high * width, place % high * side
        if is_first:
            at = left + space - NAME_SPACE_PIXELS, top + side / 2
            pen.text(at, texts[label], fill="black", font=font, anchor="rm")
        for column, member in enumerate(row):
            corners[member] = (left + space + column * side, top)
            sheet.paste(Image.fromarray(tiles[member]), corners[member])
    with naming(file):
        sheet.save(file, pnginfo=_layout(side, corners))


@functools.cache
def _font() -> tuple[ImageFont.FreeTypeFont, frozenset[int]]:
    """DejaVu Sans, which comes with matplotlib, and its code points."""
    import matplotlib
    from matplotlib.ft2font import FT2Font
    from PIL import ImageFont

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(file, NAME_FONT_PIXELS), frozenset(FT2Font(str(file)).get_charmap())


def real_images(images: Images, labels: Int[Tensor, " k"]) -> UInt8[Tensor, "k c h w"]:
    """A real image for each label: the first ones of each class, repeated if a class has too few."""
    positions = torch.zeros_like(labels)
    for label in set(labels.tolist()):
        of_class, wanted = (images.labels == label).nonzero()[:, 0], labels == label
        positions[wanted] = of_class[torch.arange(int(wanted.sum())) % len(of_class)]
    return images.pixels[positions]


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME_LETTERS else f"{name[: MAX_NAME_LETTERS - 1]}…"
