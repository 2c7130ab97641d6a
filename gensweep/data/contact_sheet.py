"""The first images of each class of a data set as one picture, for people."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from gensweep.data.images import Images
from gensweep.errors import ConfigError, GensweepError

#: Images in a row.
COLUMNS = 10
#: Rows of a data set with a single class; of several, each has one row.
ROWS_OF_ONE_CLASS = 10
#: Classes that are shown.
MAX_CLASSES = 20
#: Smaller images are enlarged to this side.
MIN_IMAGE_PIXELS = 64
#: White pixels to the right of and below each image.
GAP_PIXELS = 2
#: The width of the column of names.
NAME_PIXELS = 100


def write_contact_sheet(images: Images, file: Path) -> None:
    """One row a class: its name and its first images, enlarged without smoothing.

    Raises ConfigError if the file's name does not end in .png, GensweepError if it cannot be written.
    """
    if file.suffix.lower() != ".png":
        raise ConfigError(f"--picture {file}: the name must end in .png")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _contact_sheet(images).save(file)
    except OSError as error:
        raise GensweepError(f"{file} cannot be written: {error}") from error


def _contact_sheet(images: Images) -> Image.Image:
    rows = [
        (name if row == 0 else "", (images.labels == label).nonzero()[row * COLUMNS : (row + 1) * COLUMNS, 0])
        for label, name in enumerate(images.class_names[:MAX_CLASSES])
        for row in range(ROWS_OF_ONE_CLASS if images.classes == 1 else 1)
    ]
    rows = [(name, index) for name, index in rows if name or len(index)]
    side = max(MIN_IMAGE_PIXELS, images.size)
    cell = side + GAP_PIXELS
    sheet = Image.new("RGB", (NAME_PIXELS + COLUMNS * cell, len(rows) * cell), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (name, index) in enumerate(rows):
        pen.text((4, row * cell + side // 2 - 6), name[:15], fill="black")
        for column, pixels in enumerate(images.pixels[index].expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()):
            picture = Image.fromarray(pixels.numpy()).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (NAME_PIXELS + column * cell, row * cell))
    return sheet
