"""Pictures of the report as data URLs: the samples of a trial, and a gallery of its evaluations."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from gensweep.report import wording
from gensweep.sweep.trial_state import TrialState
from gensweep.verdict.rungs import NEAR

if TYPE_CHECKING:
    from gensweep.verdict.comparison import Comparison, RankedTrial
    from gensweep.verdict.recommendation import Recommendation

#: Largest number of images in a row of a thumbnail.
THUMBNAIL_COLUMNS = 4
#: Longest side of a picture in pixels, and its WebP quality: 17 pictures stay below 5 MB.
MAX_PIXELS, QUALITY = 1024, 90
#: Most trials and evaluations of a gallery, and the longest side of its pictures: 36 pictures stay below 1 MB.
GALLERY_TRIALS, GALLERY_COLUMNS, GALLERY_PIXELS = 6, 6, 224


def picture(entry: RankedTrial, key: str) -> tuple[str, str] | None:
    """Picture of a trial's best evaluation, else of its latest: thumbnail and whole, as data URLs; None without one."""
    trial = entry.trial
    kept = {} if trial.folder is None else trial.folder.pictures_of(trial.best_of or trial.trial, key)
    if not kept:
        return None
    best = 0 if trial.best is None else trial.best.evaluation.images
    with Image.open(kept.get(best, kept[max(kept)])) as opened:
        return _encode(_first_images(opened)), _encode(opened)


@dataclass(frozen=True)
class GalleryRow:
    """A trial, and for each column a picture as data URL with its caption; None where it has no evaluation."""

    entry: RankedTrial
    tiles: Sequence[tuple[str, str] | None]


def gallery(comparison: Comparison, judged: Recommendation) -> list[GalleryRow]:
    """The first images at each evaluation: of the recommended trial, of running ones, and of the best others.

    Image i has the same noise in all pictures of equal shape.  Columns are shares of a training that differ by more
    than NEAR.  Empty if there is only one.
    """
    first = sorted(
        comparison.entries,
        key=lambda entry: (entry is not judged.recommended, entry.trial.status != "running", entry.rank),
    )
    kept = {entry: _kept(entry.trial) for entry in first[:GALLERY_TRIALS]}
    ends = list[float]()
    for share in sorted({share for files in kept.values() for share in files}, reverse=True):
        if not ends or share * NEAR < ends[-1]:
            ends.append(share)
    ends.reverse()
    if (last := min(len(ends), GALLERY_COLUMNS) - 1) < 1:
        return []
    ends = [ends[round(column * (len(ends) - 1) / last)] for column in range(last + 1)]
    return [
        GalleryRow(entry, [_tile(entry, files, end) for end in ends])
        for entry, files in sorted(kept.items(), key=lambda item: item[0].rank)
        if files
    ]


def _kept(trial: TrialState) -> dict[float, tuple[int, Path]]:
    """Training images and picture of each evaluation, by the share of the training."""
    found, length = dict[float, tuple[int, Path]](), trial.length or max(trial.evaluations, default=1)
    for images, event in trial.evaluations.items():
        if trial.folder is not None and (file := trial.folder.picture(event.trial, images, "samples")).is_file():
            found[images / length] = images, file
    return found


def _tile(entry: RankedTrial, files: dict[float, tuple[int, Path]], end: float) -> tuple[str, str] | None:
    """The last picture of a column that ends at a share of the training."""
    share = max((share for share in files if end / NEAR <= share <= end), default=None)
    if share is None:
        return None
    images, file = files[share]
    scored = entry.trial.evaluations[images].evaluation.scores.get(entry.score.metric)
    like = scored is not None and scored.identity == entry.score.identity
    words = f"{share:.0%}".replace("%", " %") + (f": {wording.score(scored.value)}" if scored and like else "")
    with Image.open(file) as opened:
        return _encode(_first_images(opened), GALLERY_PIXELS), words


def _encode(shown: Image.Image, pixels: int = MAX_PIXELS) -> str:
    file = io.BytesIO()
    shown.thumbnail((pixels, pixels))
    shown.convert("RGB").save(file, "WEBP", quality=QUALITY)
    return data_url("picture.webp", file.getvalue())


def _first_images(grid: Image.Image) -> Image.Image:
    """A square of the first images of a grid with a layout (see `write_grid`), else its upper left quarter."""
    side, corners = json.loads(grid.info.get("layout", "[0, []]"))
    columns = min(THUMBNAIL_COLUMNS, int(len(corners) ** 0.5))
    if not columns:
        return grid.crop((0, 0, grid.width // 2, grid.height // 2))
    square = Image.new("RGB", (columns * side, columns * side))
    for place, (left, top) in enumerate(corners[: columns**2]):
        square.paste(grid.crop((left, top, left + side, top + side)), (place % columns * side, place // columns * side))
    return square


def data_url(file: str, data: bytes) -> str:
    """A picture as a data URL."""
    return f"data:image/{file.rpartition('.')[2]};base64,{base64.b64encode(data).decode()}"
